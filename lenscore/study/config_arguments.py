"""Settings that are given on the command line: ``--config name=value``, where a value may be YAML.

Snakemake has read them when the project sees the config, and of a key that was given twice it has kept the last.
"""

from collections.abc import Iterator, Sequence

import yaml

from lenscore.errors import ConfigError, repeated_key, shown


def check_config_arguments(arguments: Sequence[str]) -> None:
    """Refuse settings that name a key twice.

    Args:
        arguments: as they were given, ``name=value`` each.

    Raises:
        ConfigError: a name is there twice, or a key in the value of one.
    """
    names = [argument.partition("=")[0] for argument in arguments]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"--config: {shown(twice)} is given {names.count(twice)} times; give it once")
    for argument in arguments:
        name, _, value = argument.partition("=")
        try:
            faults = list(filter(None, map(repeated_key, _keys(yaml.compose(value, Loader=yaml.BaseLoader), set()))))
        except (yaml.YAMLError, RecursionError):
            continue  # text to Snakemake, in which no key is
        if faults:
            raise ConfigError(f"--config {shown(name)}: {faults[0]}")


def _keys(node: yaml.Node | None, seen: set[int]) -> Iterator[list[str]]:
    """Yield the keys of each mapping at and below a node; one that an alias names again is not gone through again."""
    if node is None or isinstance(node, yaml.ScalarNode) or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        yield [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        parts = [part for pair in node.value for part in pair]
    else:
        parts = list(node.value)
    for part in parts:
        yield from _keys(part, seen)
