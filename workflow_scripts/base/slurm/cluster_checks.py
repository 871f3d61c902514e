"""Whether the profile and the rules fit the cluster: pure functions of what both say."""

from __future__ import annotations

from collections.abc import Mapping

from .findings import Findings, some
from .plan import Ask
from .profile import Profile
from .queries import Accounts, Nodes, Partition


def default_of(known: Mapping[str, Partition]) -> str:
    """The partition of jobs that name none; empty where there is no such partition."""
    return next((name for name, partition in known.items() if partition.is_default), "")


def check_partitions(
    findings: Findings, asks: list[Ask], profile: Profile, known: Mapping[str, Partition]
) -> list[Ask]:
    """Every partition of the profile exists and is up, those of GPU jobs have GPUs. The asks that can be tried."""
    good: list[Ask] = []
    listed = ", ".join(f"{name} (with GPUs)" if known[name].has_gpus else name for name in sorted(known))
    for text in dict.fromkeys(ask.partition for ask in asks):
        users = [ask for ask in asks if ask.partition == text]
        names = (text or default_of(known)).split(",")
        if names == [""]:
            findings.error(
                f"{profile.path} names no partition for {some(ask.rule for ask in users)}, and this Slurm has no default "
                f"one; there are {listed}: write `slurm_partition: <one of them>` under default-resources"
            )
            continue
        missing = [name for name in names if name not in known]
        for name in missing:
            findings.error(
                f"partition {name} ({profile.where(text)}) does not exist here; there are {listed}: write one of them there"
            )
        closed = [name for name in names if name in known and not known[name].is_up]
        for name in closed:
            findings.error(
                f"partition {name} ({profile.where(text)}) takes no jobs at present (sinfo says it is not up): wait, or "
                "write another one there"
            )
        if missing or closed:
            continue
        has_gpus = any(known[name].has_gpus for name in names)
        good += [ask for ask in users if has_gpus or not ask.gpus]
        if not has_gpus and (needy := [ask.rule for ask in users if ask.gpus]):
            findings.error(_no_gpu(text or f"{names[0]}, the default,", needy, profile, known))
    return good


def _no_gpu(partition: str, rules: list[str], profile: Profile, known: Mapping[str, Partition]) -> str:
    with_gpus = sorted(name for name, item in known.items() if item.has_gpus)
    what = f"partition {partition} has no GPU, and rules ask for one there ({some(rules)})"
    without = "`gpu: 0` to run them on CPUs"
    if not with_gpus:
        return f"{what}; no partition of this Slurm has GPUs: write {without} in set-resources of {profile.path}"
    return (
        f"{what}; {', '.join(with_gpus)} {'has' if len(with_gpus) == 1 else 'have'} GPUs: write "
        f"`slurm_partition: {with_gpus[0]}` for these rules in set-resources of {profile.path}, or {without}"
    )


def check_accounts(findings: Findings, asks: list[Ask], profile: Profile, known: Accounts | None) -> set[str]:
    """Every account of the profile is one of this user's. The names that cannot be used."""
    used = dict.fromkeys(ask.account for ask in asks)
    if known is None:
        findings.row(
            "accounts", f"{', '.join(filter(None, used)) or 'none given'} (this Slurm keeps no list to compare)"
        )
        return set()
    names = {name.lower(): name for name in known.names}
    # Snakemake's plugin takes several accounts, and compares without regard to case.
    bad = {text for text in used if any(part.lower() not in names for part in text.replace(",", " ").split())}
    for text in sorted(bad):
        findings.error(
            f"account {text} ({profile.where(text)}) is none of yours; Slurm lets you charge "
            f"{', '.join(sorted(known.names))}: write one of them there"
        )
    if good := [text or f"{known.default or 'none'} (your default)" for text in used if text not in bad]:
        findings.row("accounts", ", ".join(good))
    return bad


def check_fit(findings: Findings, asks: list[Ask], profile: Profile, known: Mapping[str, Partition]) -> None:
    """Warn of rules whose jobs can never start: longer than the partition allows, or larger than each of its nodes."""
    unfit: dict[str, list[str]] = {}
    for ask in (ask for ask in asks if ask.threads is not None):
        name = ask.partition or default_of(known)
        places = [known[part] for part in name.split(",") if part in known]
        if places:
            for why in (_too_long(ask, places), _too_large(ask, places)):
                if why:
                    unfit.setdefault(f"can never start in partition {name}: they ask for {why}", []).append(ask.rule)
    for why, rules in unfit.items():
        findings.warning(f"jobs of {some(rules)} {why} of {profile.path}")


def _too_long(ask: Ask, places: list[Partition]) -> str:
    minutes = ask.number("runtime")
    longest = max(float("inf") if place.max_minutes is None else place.max_minutes for place in places)
    if minutes <= longest:
        return ""
    return (
        f"{minutes:g} minutes, and it ends jobs after {longest:g}; write `runtime: {longest:g}` (a training that "
        "needs longer saves, queues again and goes on) for them in set-resources"
    )


def _too_large(ask: Ask, places: list[Partition]) -> str:
    kinds = [kind for place in places for kind in place.nodes]
    model = str(ask.resources.get("gpu_model") or "")
    if not kinds or any(_holds(kind, ask, model) for kind in kinds):
        return ""
    largest = max(kinds, key=lambda kind: (kind.gpu_count >= ask.gpus, kind.memory_mb, kind.cpus))
    gpus = f" and {_count(ask.gpus, f'{model} GPU'.strip())}" if ask.gpus else ""
    mend = [f"at most {largest.cpus} for them in set-threads"] if ask.cpus > largest.cpus else []
    if ask.memory_mb > largest.memory_mb:
        mend.append(f"`mem_mb: {largest.memory_mb}`, if the study is small enough for it, in set-resources")
    if ask.gpus and ask.gpus > (largest.gpus.get(model, 0) if model else largest.gpu_count):
        mend.append(f"a GPU that is there ({', '.join(sorted(largest.gpus)) or 'none'}) in set-resources")
    return (
        f"{_count(ask.cpus, 'CPU')}, {ask.memory_mb:.0f} MB{gpus} on one node, and its largest has "
        f"{_count(largest.cpus, 'CPU')}, {largest.memory_mb} MB and {_count(largest.gpu_count, 'GPU')}; write {' and '.join(mend)}"
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _holds(kind: Nodes, ask: Ask, model: str) -> bool:
    there = kind.gpus.get(model, 0) if model else kind.gpu_count
    return kind.cpus >= ask.cpus and kind.memory_mb >= ask.memory_mb and there >= ask.gpus
