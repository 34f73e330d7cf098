"""One long answer in Markdown, as models write them, and the tokens it comes in. The same in every run.

No line of its code begins as a block of Markdown does: a line of a page that begins so shows markup (``bench.flashes``).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from itertools import cycle

TOKEN = re.compile(r"\n+| ?[A-Za-z]{1,12}|\d{1,3}| +|[^\w\s]{1,3}|.", re.DOTALL)
"""About what tokenizers make of such text: a word with the space before it, a few digits, a few signs."""

LEAST_TOKENS = 100
CLOSING_TOKENS = 10
"""Of the last paragraph, at least. It is of plain words, a token each, and makes the count even."""

WORDS = (
    *(
        "river",
        "water",
        "gate",
        "bank",
        "reach",
        "mill",
        "flood",
        "level",
        "weir",
        "sluice",
        "basin",
        "channel",
        "delta",
    ),
    *("source", "current", "meadow", "bridge", "valve", "wheel", "sediment", "reservoir", "catchment", "discharge"),
    *("steady", "narrow", "gentle", "early", "broad", "quiet", "measured", "seasonal", "upstream", "downstream"),
    *("carries", "turns", "holds", "keeps", "meets", "leaves", "follows", "reaches", "gathers", "settles", "divides"),
    *(
        "the",
        "a",
        "its",
        "each",
        "every",
        "that",
        "with",
        "from",
        "into",
        "over",
        "under",
        "between",
        "after",
        "before",
    ),
    *("and", "or", "while", "because", "when"),
)
"""None takes more than a token."""
CODES = ("flow_rate", "gate.open()", "max_level_mm", "read(*args)", "level[0]", "a | b", "--dry-run", "$HOME/gates")
PATHS = ("weirs", "gates/3", "tables?year=2024&reach=upper", "notes#spring_flood", "a_long_name/of_a_page")

CODE = (
    (
        "python",
        """\
def discharge(levels_mm: list[float], *, width_m: float = 2.5) -> float:
    \"\"\"Return cubic metres a second over a sharp crest.\"\"\"
    head_m = max(levels_mm) / 1000
    return 1.84 * width_m * head_m ** 1.5


for name, levels in sorted(readings.items()):
    print(f"{name:>12} {discharge(levels):8.2f} m3/s")""",
    ),
    (
        "typescript",
        """\
export async function* readings(url: string, signal: AbortSignal): AsyncGenerator<Reading> {
  const response = await fetch(`${url}/readings?limit=100`, { signal });
  for (const line of (await response.text()).split("\\n")) {
    if (line !== "") yield JSON.parse(line) as Reading; // one object a line
  }
}""",
    ),
    (
        "sql",
        """\
SELECT gate_id, date_trunc('hour', read_at) AS hour, avg(level_mm) AS level_mm
FROM readings
WHERE read_at >= now() - interval '7 days' AND level_mm IS NOT NULL
GROUP BY gate_id, hour
HAVING count(*) > 3
ORDER BY gate_id, hour DESC;""",
    ),
    (
        "rust",
        """\
impl Gate {
    pub fn set<'a>(&'a mut self, opening: f32) -> Result<&'a Gate, GateError> {
        let clamped = opening.clamp(0.0, 1.0);
        self.steps = (clamped * STEPS as f32).round() as u16;
        self.log.push(Event::Set { at: Instant::now(), steps: self.steps });
        Ok(self)
    }
}""",
    ),
    (
        "json",
        """\
{
  "gate": "north-2",
  "levels_mm": [412, 418, 431, 455],
  "limits": { "least": 120, "most": 900 },
  "is_open": true
}""",
    ),
    (
        "bash",
        """\
for gate in $(ls /var/lib/gates | grep -v '_old$'); do
  curl --silent "https://gates.example.org/$gate" | jq '.levels_mm[-1]' >> "levels_${gate}.txt"
done""",
    ),
)
INLINE_MATH = ("Q = A v", "h_1 > h_2", r"\sqrt{2 g h}", r"v \approx 1.2")
MATH = (
    r"Q = \frac{2}{3} C_d b \sqrt{2 g}\, h^{3/2}",
    r"\frac{\partial h}{\partial t} + \frac{\partial (h u)}{\partial x} = 0",
    r"\sum_{i=1}^{n} Q_i = Q_{\mathrm{out}} + \Delta S",
)


def tokens_of(text: str) -> list[str]:
    """Return the parts that ``text`` comes in; together they are the text."""
    return TOKEN.findall(text)


def answer(tokens: int) -> str:
    """Return Markdown of exactly so many tokens, whole to its end.

    Raises:
        ValueError: There is no answer so short.
    """
    if tokens < LEAST_TOKENS:
        raise ValueError(f"tokens: {tokens} are too few for an answer; ask for {LEAST_TOKENS} or more")
    parts, writer = ["# How a river is shared out"], _Writer(random.Random(20))
    left = tokens - len(tokens_of(parts[0]))
    for block in _blocks(writer):
        taken = len(tokens_of(f"\n\n{block}"))
        if left - taken < CLOSING_TOKENS:
            break
        parts.append(block)
        left -= taken
    # The break before it and the full stop are tokens, too.
    parts.append(writer.plain_sentence(left - 2))
    return "\n\n".join(parts)


def _blocks(writer: _Writer) -> Iterator[str]:
    """Return sections without end, each with blocks of most kinds."""
    codes, formulas = cycle(CODE), cycle(MATH)
    # Sections differ in length and order as those of answers do: a kind comes again before all have been.
    kinds: Iterator[Callable[[], str]] = cycle(
        (
            writer.paragraph,
            writer.bullets,
            lambda: _fence(*next(codes)),
            writer.paragraph,
            writer.table,
            writer.quote,
            writer.tasks,
            lambda: _fence(*next(codes)),
            writer.steps,
            lambda: f"$$\n{next(formulas)}\n$$",
            writer.rule,
        )
    )
    for section in cycle(range(1, 100)):
        yield f"{'##' if section % 3 else '###'} {writer.title()}"
        yield writer.paragraph()
        for _ in range(5):
            yield next(kinds)()
        yield from writer.noted_paragraph()


def _fence(language: str, code: str) -> str:
    return f"```{language}\n{code}\n```"


class _Writer:
    """Writes blocks of Markdown.

    Args:
        chance: Chooses all words.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._notes = 0

    def title(self) -> str:
        return f"{self._words(3).capitalize()} of `{self._chance.choice(CODES)}`"

    def paragraph(self) -> str:
        return " ".join(self._sentence() for _ in range(self._chance.randint(2, 4)))

    def noted_paragraph(self) -> tuple[str, str]:
        """Return a paragraph that ends with a reference to a footnote, and the footnote."""
        self._notes += 1
        return f"{self.paragraph()}[^{self._notes}]", f"[^{self._notes}]: {self._sentence()}"

    def bullets(self) -> str:
        lines = []
        for _ in range(3):
            lines += [f"- **{self._words(2).capitalize()}**: {self._phrase()}"]
            lines += [f"  - {self._phrase()}" for _ in range(self._chance.randint(0, 2))]
        return "\n".join(lines)

    def steps(self) -> str:
        return "\n".join(f"{number}. {self._phrase()}\n   - {self._phrase()}" for number in range(1, 4))

    def tasks(self) -> str:
        return "\n".join(f"- [{self._chance.choice(' x')}] {self._phrase()}" for _ in range(3))

    def table(self) -> str:
        rows = [
            f"| {self._words(1)} | `{self._chance.choice(CODES[:5])}` | {self._chance.randint(1, 9999)} |"
            for _ in range(self._chance.randint(3, 5))
        ]
        return "\n".join(["| Reach | Reading | Level |", "|:------|:-------:|------:|", *rows])

    def quote(self) -> str:
        return f"> {self._sentence()}\n>\n> {self._sentence()}"

    def plain_sentence(self, words: int) -> str:
        return f"{self._words(words).capitalize()}."

    def rule(self) -> str:
        return "---"

    def _words(self, count: int) -> str:
        return " ".join(self._chance.choice(WORDS) for _ in range(count))

    def _phrase(self) -> str:
        return f"{self._words(2)} {self._inline()} {self._words(3)}"

    def _sentence(self) -> str:
        before, after = self._words(self._chance.randint(4, 9)), self._words(self._chance.randint(3, 8))
        return f"{before.capitalize()} {self._inline()} {after}."

    def _inline(self) -> str:
        """Return a few words, most often marked up in one of the ways there are."""
        words, path = self._words(2), self._chance.choice(PATHS)
        return self._chance.choice(
            (
                words,
                f"**{words}**",
                f"*{words}*",
                f"***{words}***",
                f"~~{words}~~",
                f"`{self._chance.choice(CODES)}`",
                f"[{words}](https://example.org/{path})",
                f"[**{words}** and `{self._chance.choice(CODES[:3])}`](https://example.org/{path})",
                f"<https://example.org/{path}>",
                f"https://example.org/{path}",
                f"${self._chance.choice(INLINE_MATH)}$",
                "the snake_case_name",
                "\N{WATER WAVE} and \N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}\N{ZERO WIDTH JOINER}\N{GIRL}",
            )
        )
