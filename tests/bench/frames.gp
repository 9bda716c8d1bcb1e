# SPDX-License-Identifier: MIT
# gnuplot: what the rows of `make bench-frames` say of growth. csv= and svg= are given.
set terminal svg size 900,380 font "sans,13" background "white"
set output svg
set datafile separator ","
set multiplot layout 1,2
set grid ytics lc rgb "#dddddd"
set ylabel "ns to take or to give, best of 9 rounds"
set yrange [0:*]
set key bottom right

set title "cost against RAM (simulated)"
set xlabel "RAM"
set logscale x 4
set xtics ("1 GiB" 1, "4" 4, "16" 16, "64" 64, "256" 256, "1 TiB" 1024)
set xrange [0.7:1500]
rows(order) = sprintf("< awk -F, '$6 == \"order-%d by RAM\" { print $2 + 0 \",\" $7 }' %s", order, csv)
plot rows(0) with linespoints pt 7 lw 2 title "order 0 (4 KiB)", \
     rows(4) with linespoints pt 5 lw 2 title "order 4 (64 KiB)", \
     rows(9) with linespoints pt 9 lw 2 title "order 9 (2 MiB)"

set title "cost against order, 64 GiB (simulated)"
unset logscale x
set xtics auto
set xtics 0,2,18
set xrange [-0.5:18.5]
set xlabel "order (2^{order} frames of 4 KiB)"
unset key
plot sprintf("< awk -F, '$6 == \"by order\" { print substr($2, 7) \",\" $7 }' %s", csv) with linespoints pt 7 lw 2
unset multiplot
