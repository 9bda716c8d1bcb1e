# SPDX-License-Identifier: MIT
# gnuplot: the curve of `make bench-gc`. csv= and svg= are given.
set terminal svg size 1200,420 font "sans,13" background "white"
set output svg
set datafile separator ","
set multiplot layout 1,3
set grid ytics lc rgb "#dddddd"
set key top left
set xlabel "live nodes"
set logscale x 4
set xtics ("1 MiB" 1, "4" 4, "16" 16, "64" 64, "256" 256, "1 GiB" 1024, "4" 4096)
set xrange [0.7:6000]
rows(subject, metric) = sprintf("< awk -F, '$2 ~ /^curve-/ && $3 == \"%s\" && $6 == \"%s\" { split($2, part, \"-\"); print part[2] + 0 \",\" $7 }' %s", subject, metric, csv)
collected = "loam go bdwgc"
all = collected." mimalloc"
set title "2,048 nodes replaced, the others stand by"
set ylabel "CPU ns to replace a node"
set yrange [0:*]
plot for [s in all] rows(s, "CPU time of an operation") with linespoints lw 2 title (s eq "mimalloc" ? "mimalloc, free" : s)
set logscale y
set yrange [*:*]
set title "longest stop"
set ylabel "ms"
plot for [s in collected] rows(s, "longest stop") with linespoints lw 2 title s
set title "worst stall of 256 operations"
plot for [s in all] rows(s, "worst of 256 operations") with linespoints lw 2 title (s eq "mimalloc" ? "mimalloc, free" : s)
unset multiplot
