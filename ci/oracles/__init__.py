"""What ci/differential.py compares: for each protocol a generator of streams, other people's parsers, and the list of the
disagreements that are known, each with its section."""

import subprocess


def by_program(command, streams):
    """What a program says of each stream: one line for each, parts separated by tabs."""
    lines = "".join(f"{kind}\t{stream.hex()}\n" for kind, stream in streams)
    done = subprocess.run(command, input=lines, text=True, stdout=subprocess.PIPE, check=True, timeout=600)
    outcomes = done.stdout.splitlines()
    assert len(outcomes) == len(streams), f"{command} says {len(outcomes)} outcomes of {len(streams)}"
    return [outcome.split("\t") for outcome in outcomes]


def changed(chance, stream, telling, spare):
    """`stream` with one small change: a telling piece instead or in between, some bytes less or twice, a bit, a part of `spare`, a cut."""
    stream = bytearray(stream)
    at = chance.randrange(len(stream) + 1)
    length = chance.choice([1, 1, 1, 2, 5])
    match chance.randrange(8):
        case 0 | 1:
            stream[at : at + 1] = chance.choice(telling)
        case 2 | 3:
            stream[at:at] = chance.choice(telling)
        case 4:
            del stream[at : at + length]
        case 5:
            stream[at:at] = stream[at : at + length * 4]
        case 6 if at < len(stream):
            stream[at] ^= 1 << chance.randrange(8)
        case 6:
            del stream[at - 1 :]
        case _:
            start = chance.randrange(len(spare) + 1)
            stream[at:at] = spare[start : start + length * 6]
    return bytes(stream)
