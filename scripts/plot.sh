#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Draw slowdown against oversubscription ratio: plot.sh CSV [TITLE] >SVG
#
# The CSV is that of `make bench`: build/bench/oversubscription.csv. No more than
# awk is needed. The ratios have a linear axis, and the slowdown a logarithmic one.
set -eu
csv=${1:?usage: plot.sh CSV [TITLE] >SVG}
awk -F, -v title="${2:-Slowdown against memory in use}" '
function x(ratio) { return left + (ratio - first) / (last - first) * width }
function y(slow) { return top + height - log(slow / low) / log(high / low) * height }
function text(px, py, anchor, s) {
	printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", px, py, anchor, s
}
function line(x1, y1, x2, y2, style) {
	printf "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", x1, y1, x2, y2, style
}
function style_of(key,   part) {
	split(key, part, SUBSEP)
	return "stroke=\"" (part[1] in color ? color[part[1]] : "black") "\"" \
		(part[2] == "4k" ? " stroke-dasharray=\"6 4\"" : "")
}
# 1, 2 and 5 of each power of ten
function ticks(   power, i, slow) {
	split("1 2 5", digit, " ")
	for (power = 0.1; power <= high; power *= 10)
		for (i = 1; i <= 3; i++) {
			slow = power * digit[i]
			if (slow < low * 0.999 || slow > high * 1.001)
				continue
			line(left, y(slow), left + width, y(slow), "stroke=\"#ddd\"")
			text(left - 8, y(slow) + 4, "end", slow)
		}
}
BEGIN {
	left = 70; top = 40; width = 560; height = 360
	color["stream"] = "#1f77b4"; color["random"] = "#d62728"
	color["hot_cold"] = "#2ca02c"; color["in_place"] = "#888"
	name["stream"] = "streaming"; name["random"] = "random pages"
	name["hot_cold"] = "hot and cold"; name["in_place"] = "in system memory"
	name["thp"] = "huge pages"; name["4k"] = "4 KiB pages"
	low = 0.5; high = 2
}
FNR == 1 {
	for (i = 1; i <= NF; i++)
		column[$i] = i
	if (!("pattern" in column && "pages" in column && "ratio" in column &&
	      "slowdown" in column)) {
		print "plot.sh: no such columns" >"/dev/stderr"
		exit failed = 1
	}
	next
}
{
	key = $column["pattern"] SUBSEP $column["pages"]
	if (!(key in count))
		keys[++nr] = key
	at = ++count[key]
	ratio[key, at] = $column["ratio"] + 0
	slow[key, at] = $column["slowdown"] + 0
	if (slow[key, at] <= 0)
		next
	if (slow[key, at] > high)
		high = slow[key, at]
	if (slow[key, at] < low)
		low = slow[key, at]
	if (!rows++ || ratio[key, at] < first)
		first = ratio[key, at]
	if (rows == 1 || ratio[key, at] > last)
		last = ratio[key, at]
	seen[ratio[key, at]] = 1
}
END {
	if (failed || !rows || last <= first) {
		print "plot.sh: nothing to draw" >"/dev/stderr"
		exit 1
	}
	high *= 1.2
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" " \
	       "font-family=\"sans-serif\" font-size=\"12\">\n", left + width + 220, top + height + 60
	print "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
	text(left + width / 2, 22, "middle", title)
	ticks()
	for (r in seen) {
		line(x(r), top, x(r), top + height, "stroke=\"#eee\"")
		text(x(r), top + height + 18, "middle", r)
	}
	line(x(1), top, x(1), top + height, "stroke=\"#999\" stroke-dasharray=\"2 3\"")
	printf "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"none\" stroke=\"#333\"/>\n",
	       left, top, width, height
	text(left + width / 2, top + height + 42, "middle",
	     "memory in use, divided by the GPU\047s")
	printf "<text transform=\"translate(20 %d) rotate(-90)\" text-anchor=\"middle\">%s</text>\n",
	       top + height / 2, "time for a byte, divided by that on a GPU where all fits"
	for (k = 1; k <= nr; k++) {
		key = keys[k]
		printf "<polyline fill=\"none\" stroke-width=\"2\" %s points=\"", style_of(key)
		for (i = 1; i <= count[key]; i++)
			if (slow[key, i] > 0)
				printf "%.1f,%.1f ", x(ratio[key, i]), y(slow[key, i])
		print "\"/>"
		split(key, part, SUBSEP)
		line(left + width + 15, top + 20 * k, left + width + 45, top + 20 * k,
		     "stroke-width=\"2\" " style_of(key))
		text(left + width + 52, top + 20 * k + 4, "start",
		     (part[1] in name ? name[part[1]] : part[1]) ", " name[part[2]])
	}
	print "</svg>"
}' "$csv"
