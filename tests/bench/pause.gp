# SPDX-License-Identifier: MIT
# gnuplot: the curves of `make bench-pause`. csv= and svg= are given.
set terminal svg size 1500,480 font "sans,12" background "white" noenhanced
set output svg
set datafile separator ","
set multiplot layout 1,2
set grid ytics lc rgb "#dddddd"
rows(what, name) = sprintf("< awk -F, '$1 == \"%s\" && $2 == \"%s\" { print $3 \",\" $4 }' %s", what, name, csv)
names(what, pattern) = system(sprintf("awk -F, '$1 == \"%s\" && $2 ~ /%s/ { gsub(/ /, \"_\", $2); print $2 }' %s | sort -u", what, pattern, csv))
plain(name) = system(sprintf("printf '%%s' '%s' | tr _ ' ' | sed 's/x86 64/x86_64/'", name))
set key outside right top font ",10"
set xlabel "live heap, MiB"
set logscale xy
set yrange [50:2000]
set ytics (50, 100, 200, 500, 1000, 2000)
set xtics (16, 64, 256, 512)
set xrange [12:700]
set ylabel "us"
set title "last stop once all stand, median; insn: one instruction a ns"
last = "median end once all stand"
some = names(last, "random (8|64)$")
if (words(some) > 0) plot for [n in some] rows(last, plain(n)) with linespoints lw 2 title plain(n), 1000 lc rgb "black" dt 2 title "aim: at most"
unset logscale
set logscale x
set xtics (1, 2, 5, 10, 20, 50, 100)
set xrange [0.9:110]
set yrange [0:100]
set ytics 20
set xlabel "window, ms"
set ylabel "least utilisation, percent"
set title "what the program has for itself in its worst window, by stops and assists"
some = names("stops and assists", ".")
if (words(some) > 0) plot for [n in some] rows("stops and assists", plain(n)) with linespoints lw 2 title plain(n), 70 lc rgb "black" dt 2 title "aim: at least"
unset multiplot
