"""Verdicts in words and exit statuses."""

STATUS = {"valid": 0, "invalid": 1, "error": 2, "unknown": 3, "unsupported": 77}


def describe(result):
    """A few lines for people."""
    lines = [f"{result['workload']} {result['nemesis']}: {result['verdict'].upper()}   "
             f"(seed {result['seed']}, {result['nodes']} node{'s' if result['nodes'] != 1 else ''}, "
             f"{result['shards']} shards, {result['time']:g} s)"]
    lines.append(f"  operations {result['operations']}: ok {result['ok']}, fail {result['fail']}, info {result['info']}; "
                 f"checked in {result['check_seconds']} s")
    if "faults" in result:
        lines.append(f"  faults {result['faults']}; longest time without success {result['longest_gap']} s; "
                     f"connections refused {result['connects_refused']}")
    lines.append("  " + ", ".join(f"{key} {value}" for key, value in result["notes"].items()))
    if result["unknown"]:
        lines.append(f"  not decided: {result['unknown']}")
    for text in result.get("findings", []):
        lines.append("  FOUND: " + text.replace("\n", "\n    "))
    for name, count in result["anomalies"].items():
        lines.append(f"  ANOMALY {name}: {count}")
        lines.extend("    " + text for text in result["examples"][name])
    if "history" in result:
        lines.append(f"  history {result['history']}")
        lines.append(f"  logs    {' '.join(result['logs'])}")
    return "\n".join(lines) + "\n"
