"""llmcore as a module of a CloudiSENSE host, in the host's own process.

The host loads it by `from llmcore.adapters.cloudisense import LLMCore` in a file of its module folder. The only place
that imports cdscore. Knows the api, not how it is built: the builder comes by an entry point.
"""

from llmcore.adapters.cloudisense.module import LLMCore

__all__ = ["LLMCore"]
