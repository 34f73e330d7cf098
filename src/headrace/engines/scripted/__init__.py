"""The scripted engine: a public fake that does exactly what its script says, in process or over HTTP."""

from headrace.engines.scripted.engine import ScriptedEngine
from headrace.engines.scripted.faults import Fault
from headrace.engines.scripted.generation import ScriptedGeneration
from headrace.engines.scripted.records import Asked, RequestRecord, Summary
from headrace.engines.scripted.script import Script, ToolCall
from headrace.engines.scripted.sequence import ScriptLike, ScriptSequence
from headrace.engines.scripted.server import SimulatorServer, serve

__all__ = [
    "Asked",
    "Fault",
    "RequestRecord",
    "Script",
    "ScriptLike",
    "ScriptSequence",
    "ScriptedEngine",
    "ScriptedGeneration",
    "SimulatorServer",
    "Summary",
    "ToolCall",
    "serve",
]
