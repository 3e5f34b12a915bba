# SPDX-License-Identifier: Apache-2.0
"""The report's drawings: bars beside each other, and curves of growth, as plain SVG."""
import html
import math

COLOURS = {"kos": "#2a6fbb", "kosd": "#2a6fbb"}
OTHERS = ("#e08214", "#5aa469", "#9467bd", "#8c8c8c", "#c44e52")
FONT = 'font-family="sans-serif" font-size="12"'


def colours(names):
    return {**COLOURS, **{name: OTHERS[i % len(OTHERS)] for i, name in enumerate(n for n in names if n not in COLOURS)}}


def short(value):
    if value == 0:
        return "0"
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def nice(step):
    """The next of 1, 2, 5 times a power of ten."""
    if step <= 0:
        return 1
    power = 10 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step)


def bars(title, unit, rows):
    """rows: [(name, median, least, most)]. A thin line is the spread."""
    width, left, bar = 820, 320, 24
    height = 46 + bar * len(rows) + 12
    top = max(most for _, _, _, most in rows) or 1
    scale = (width - left - 90) / top
    chosen = colours(name for name, *_ in rows)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {FONT}>', '<rect width="100%" height="100%" fill="#fff"/>',
           f'<text x="12" y="22" font-size="14">{html.escape(title)} ({html.escape(unit)})</text>']
    for i, (name, median, least, most) in enumerate(rows):
        y = 38 + i * bar
        out.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{html.escape(name)}</text>'
                   f'<rect x="{left}" y="{y}" width="{max(1, median * scale):.1f}" height="{bar - 6}" fill="{chosen[name]}"/>'
                   f'<path d="M{left + least * scale:.1f} {y + 9}H{left + most * scale:.1f}M{left + least * scale:.1f} {y + 5}v8M{left + most * scale:.1f} {y + 5}v8" stroke="#222" fill="none"/>'
                   f'<text x="{left + most * scale + 7:.1f}" y="{y + 14}">{short(median)}</text>')
    return "\n".join(out + ["</svg>\n"])


def curve(title, x_name, unit, lines):
    """lines: {name: [(x, y)]}; x on a logarithmic scale that begins at 0, y from 0."""
    width, height, left, bottom, top = 720, 300, 64, 44, 36
    xs = sorted({x for line in lines.values() for x, _ in line})
    step = nice(max(y for line in lines.values() for _, y in line) / 4)
    high = step * math.ceil(max(y for line in lines.values() for _, y in line) / step + 0.1)
    span = math.log10(1 + xs[-1]) or 1

    def at(x, y):
        return left + math.log10(1 + x) / span * (width - left - 150), height - bottom - y / high * (height - bottom - top)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {FONT}>', '<rect width="100%" height="100%" fill="#fff"/>',
           f'<text x="12" y="22" font-size="14">{html.escape(title)}</text>']
    for i in range(round(high / step) + 1):
        x0, y0 = at(0, step * i)
        out.append(f'<path d="M{x0} {y0:.1f}H{width - 150}" stroke="#ddd"/><text x="{left - 6}" y="{y0 + 4:.1f}" text-anchor="end">{short(step * i)}</text>')
    for x in xs:
        px, _ = at(x, 0)
        out.append(f'<text x="{px:.1f}" y="{height - bottom + 18}" text-anchor="middle">{x:,}</text>')
    out.append(f'<text x="{(left + width - 150) / 2}" y="{height - 8}" text-anchor="middle">{html.escape(x_name)} (logarithmic)</text>'
               f'<text x="12" y="{top}" fill="#555">{html.escape(unit)}</text>')
    chosen = colours(lines)
    for i, (name, line) in enumerate(lines.items()):
        points = [at(x, y) for x, y in sorted(line)]
        out.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" fill="none" stroke="{chosen[name]}" stroke-width="2"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{chosen[name]}"/>' for x, y in points]
        out.append(f'<rect x="{width - 140}" y="{top + 20 * i}" width="12" height="12" fill="{chosen[name]}"/>'
                   f'<text x="{width - 122}" y="{top + 11 + 20 * i}">{html.escape(name)}</text>')
    return "\n".join(out + ["</svg>\n"])
