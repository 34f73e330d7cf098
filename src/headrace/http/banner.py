"""What ``headrace serve`` prints when it is ready: things to try."""

from __future__ import annotations

_TEXT = """\
Headrace {version} listens on {url}

  In a browser: {url}/

  curl -N {url}/v1/chat/completions -H 'content-type: application/json' \\{authorization}
    -d '{{"model": "{model}", "stream": true, "messages": [{{"role": "user", "content": "Why is the sky blue?"}}]}}'

  from openai import OpenAI
  client = OpenAI(base_url="{url}/v1", api_key="{key}")
  for chunk in client.chat.completions.create(model="{model}", stream=True,
          messages=[{{"role": "user", "content": "Why is the sky blue?"}}]):
      print(chunk.choices[0].delta.content or "", end="", flush=True)

Streams: {url}/v1/streams   Metrics: {url}/metrics   Stop: Ctrl-C

"""


_AUTHORIZATION = """
    -H "authorization: Bearer $HEADRACE_API_KEY" \\"""


def banner(
    host: str, port: int, model: str | None, *, version: str, scheme: str = "http", needs_key: bool = False
) -> str:
    """Return the text; ``model`` None when only the engine knows its models."""
    shown = f"[{host}]" if ":" in host else host
    return _TEXT.format(
        version=version,
        url=f"{scheme}://{shown}:{port}",
        model=model or "MODEL",
        authorization=_AUTHORIZATION if needs_key else "",
        key="hr_..." if needs_key else "none",
    )
