"""Tables of docs/capacity.md and of results/capacity.md."""

from typing import Any

from lib.capacity.model import OPEN, PLANS, ROOM, Figures, Model, short

Row = list[str]


def table(head: Row, rows: list[Row]) -> str:
    """Markdown; all columns but the first to the right."""
    lines = [head, ["---", *("--:" for _ in head[1:])], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def measured(figures: Figures) -> str:
    """What single things cost."""
    parts = [f"{figures['date']}, {figures['environment']['cpu']}, {figures['environment']['kernel']}, one thread"
             f"{'' if figures['quiet'] else ', **a draft: other work had the machine**'}.\n"]
    rows = [[cost["title"], short(cost["us"]), f"{short(min(cost['rounds']))} to {short(max(cost['rounds']))}"]
            for cost in figures["costs"].values()]
    parts.append(table(["CPU of the edge, each", "µs", "rounds"], rows))
    rows = [[one["title"], short(one["edge_kib"]), short(one["kernel_kib"]), short(one["descriptors"])]
            for one in figures["connections"].values()]
    parts.append(table(["a connection that waits", "edge, KiB", "kernel, KiB", "descriptors"], rows))
    rows = [[view["title"], str(view["requests"]), short(view["html_bytes"] / 1024), short(view["received_bytes"] / 1024),
             short(view["sent_bytes"] / 1024)] for view in figures["shop"]["views"]]
    parts.append(table(["the shop in a browser", "requests", "HTML, KiB", "received, KiB", "sent, KiB"], rows))
    if polled := figures["room"].get("poll_bytes"):
        parts.append(f"A poll of the waiting room receives {polled:,} bytes, of which the page is "
                     f"{figures['room']['page_bytes']:,}; the rest is the head with the ticket, and TLS.\n")
    if why := figures["room"].get("left_out"):
        parts.append(f"**Left out: polls of the waiting room**, since the binary knows none ({why}).\n")
    return "\n".join(parts)


def opening(model: Model) -> str:
    """The opening minute."""
    by_plan = [model.needs(plan) for plan in PLANS]
    sale, host = model.assumed["sale"], model.assumed["hosts"][0]
    has = model.has(host)
    rows = [[f"{one.title}{', ' + one.unit if one.unit else ''}", *(short(needs[i].amount) for needs in by_plan),
             has.get(one.key, ""), one.formula] for i, one in enumerate(by_plan[0])]
    head = [f"{sale['visitors']:,} visitors in {sale['opening_seconds']} s", *(plan.title for plan in PLANS),
            f"a {host['name']} has", "how"]
    text = table(head, rows)
    if not model.polls_are_measured:
        text += "\n**Polls are not measured yet**: a refused request, and a resumed connection, stand in for them.\n"
    return text


def breaking(model: Model, host: dict[str, Any]) -> str:
    """What breaks first, second, third."""
    parts = []
    for plan in PLANS:
        rows = [[f"{number}. {bound.title}", f"{bound.share:.0%}", short(bound.visitors)]
                for number, bound in enumerate(model.bounds(plan, host), 1)]
        head = [f"{host['name']}, {plan.title}", f"at {model.visitors():,}", "full at, visitors"]
        parts.append(table(head, rows))
    by_memory, by_descriptors, taken = model.connections_borne(host)
    parts.append(
        f"A {host['name']}'s memory bears {short(by_memory)} connections that wait, its descriptors "
        f"{short(by_descriptors)}. As many as `max_connections` allows, {model.assumed['machine']['max_connections']:,}, "
        f"take {short(taken)} MiB. Of the polls, {model.polls_shed(ROOM, model.visitors()):.0%} find their connection shed.\n"
    )
    return "\n".join(parts)


def hosts(model: Model) -> str:
    """What other hosts change."""
    rows = []
    for host in model.assumed["hosts"]:
        cells = [host["name"]]
        for plan in PLANS:
            first, second = [bound for bound in model.bounds(plan, host) if not bound.is_setting][:2]
            cells += [f"{short(first.visitors)} ({first.title})", f"{short(second.visitors)} ({second.title})"]
        rows.append(cells)
    head = ["host", *(f"{plan.title}: {which}" for plan in PLANS for which in ("first", "second"))]
    return table(head, rows)


def steady(model: Model) -> str:
    """The hour after the opening."""
    by_plan = {plan: model.steady_cores(plan) for plan in PLANS}
    rows = [[what, *(f"{by_plan[plan][what]:.2f}" for plan in PLANS)] for what in by_plan[OPEN]]
    rows.append(["**together**", *(f"**{sum(by_plan[plan].values()):.2f}**" for plan in PLANS)])
    rows.append(["Gbit/s sent", *(short(model.steady_gbps(plan)) for plan in PLANS)])
    text = table(["virtual CPUs once all are there", *(plan.title for plan in PLANS)], rows) + "\n"
    wanted = sum(by_plan[ROOM].values())
    rows = [[host["name"], f"{host['vcpus'] * host['nodes']}", model.credits(host, wanted)]
            for host in model.assumed["hosts"]]
    return text + table(["with the room", "virtual CPUs", "CPU credits last"], rows)


def sections(figures: Figures, assumed: dict[str, Any]) -> dict[str, str]:
    """By the name of their place in the page."""
    model = Model(figures, assumed)
    return {
        "capacity-measured": measured(figures),
        "capacity-opening": opening(model),
        "capacity-breaking": breaking(model, assumed["hosts"][0]),
        "capacity-steady": steady(model),
        "capacity-hosts": hosts(model),
    }
