# SPDX-License-Identifier: MIT
# gnuplot: what the rows of `make bench-growth` say. csv= and svg= are given.
set terminal svg size 900,720 font "sans,13" background "white"
set output svg
set datafile separator ","
set multiplot layout 2,2
set grid ytics lc rgb "#dddddd"
set ylabel "CPU ns to replace a block"
set yrange [0:*]
set key top left
set xlabel "live blocks"
set logscale x 4
set xtics ("1 MiB" 1, "4" 4, "16" 16, "64" 64, "256" 256, "1 GiB" 1024, "4" 4096)
set xrange [0.7:6000]
rows(workload, subject) = sprintf("< awk -F, '$2 ~ /^%s-/ && $3 == \"%s\" && $6 == \"CPU time\" { split($2, part, \"-\"); print part[2] + 0 \",\" $7 }' %s", workload, subject, csv)
do for [workload in "standing growth"] {
	what = workload eq "standing" ? "2,048 blocks replaced, the others stand by" : "all blocks replaced at random"
	set title "explicit free: ".what
	plot rows(workload, "loam") with linespoints pt 7 lw 2 title "loam", \
	     rows(workload, "mimalloc") with linespoints pt 5 lw 2 title "mimalloc", \
	     rows(workload, "none") with linespoints pt 9 lw 2 dt 2 lc rgb "#888888" title "the touches alone"
	set title "collected: ".what
	subjects = "loam-gc bdwgc go none"
	plot for [s in subjects] rows(workload, s) with linespoints lw 2 title (s eq "none" ? "the touches alone" : s)
}
unset multiplot
