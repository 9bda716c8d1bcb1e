// SPDX-License-Identifier: MIT

// The workloads of tests/bench/gc.c for Go's collector:
//
//	gc-go WORKLOAD CPUS SIZE [OPS]
//
// The same nodes, sequences and touches; GOMAXPROCS is CPUS. What the barrier costs is in it: the compiler
// puts it there. The longest stop is an upper bound: of the runtime's histogram of stops the bound of
// the highest bucket, or the longest sum of a collection's two stops, whichever is less.
// Needs no more than Go 1.19, Debian 12's.
package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

const (
	links      = 4
	run        = 256
	window     = 2048
	cycles     = 3
	curveLimit = 20 * time.Second
	treeDepth  = 16
	arraySize  = 500000
	depthMin   = 4
	nodeMarker = 0x5a5a
	garbage    = 256
)

type tree struct{ left, right *tree }

type node struct {
	link     [links]*node
	replaced uint64
	marker   uint64
	_        [2]uint64
}

type benchNode struct {
	left, right *benchNode
	i, j        int32
}

var (
	table     []*node
	longLived *tree
	runs      []uint64
	begun     time.Time
	cpuBegun  time.Duration

	garbageWords [garbage]uint8 // all 0: no garbage
	stopsBegun   *metrics.Float64Histogram
)

func die(why ...any) {
	fmt.Fprintln(os.Stderr, append([]any{"go:"}, why...)...)
	os.Exit(1)
}

func next(state *uint64) uint64 {
	*state += 0x9e3779b97f4a7c15
	z := *state
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	return z ^ (z >> 27)
}

func below(r, n uint64) uint64 { return (r & 0xffffffff) * n >> 32 }

func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func beginTiming() {
	cpuBegun = cpuTime()
	begun = time.Now()
}

// ---- trees ----

func treeMake(depth uint) *tree {
	if depth == 0 {
		return &tree{}
	}
	left := treeMake(depth - 1)
	right := treeMake(depth - 1)
	return &tree{left, right}
}

func (t *tree) count() uint64 {
	if t.left == nil {
		return 1
	}
	return 1 + t.left.count() + t.right.count()
}

func (t *tree) end(depth uint) {
	if t.count() != 2<<depth-1 {
		die("a tree was damaged")
	}
}

func trees(size, _ uint64) uint64 {
	max, made := uint(size), uint64(0)
	beginTiming()
	treeMake(max + 1).end(max + 1)
	longLived = treeMake(max)
	for d := uint(depthMin); d <= max; d += 2 {
		count := uint64(1) << (max - d + depthMin)
		for i := uint64(0); i < count; i++ {
			treeMake(d).end(d)
		}
		made += count * (2<<d - 1)
	}
	longLived.end(max)
	return made + 6<<max - 2
}

// ---- graph, curve ----

func scramble(i, n uint64) uint64 {
	bits := uint(0)
	for bits < 64 && (n-1)>>bits != 0 {
		bits++
	}
	mask := uint64(1)<<bits - 1
	for {
		for round := 0; round < 3; round++ {
			i = (i*0x9e3779b97f4a7c15 + 0x632be5ab) & mask
			i ^= i >> (bits/2 + 1)
		}
		if i < n {
			return i
		}
	}
}

func slotOf(i, nodes uint64) uint64 {
	if i < window || i >= nodes-window {
		return i
	}
	return window + scramble(i-window, nodes-2*window)
}

func graphFill(nodes uint64) {
	if nodes < 4*window || nodes>>32 != 0 {
		die("so many nodes are not possible")
	}
	percent := debug.SetGCPercent(-1)
	rng := uint64(20261124)
	table = make([]*node, nodes)
	for i := uint64(0); i < nodes; i++ {
		table[slotOf(i, nodes)] = &node{marker: nodeMarker}
	}
	for i := uint64(0); i < nodes; i++ {
		n := table[slotOf(i, nodes)]
		for k := range n.link {
			n.link[k] = table[below(next(&rng), nodes/2)]
		}
	}
	runs = make([]uint64, 0, 1<<22)
	debug.SetGCPercent(percent)
}

func graphReplace(state *uint64, ops, first, slots, neighbours uint64) uint64 {
	rng, then, done := *state, time.Now(), uint64(0)
	for done < ops {
		for n := 0; n < run; n++ {
			r := next(&rng)
			slot := &table[first+below(r>>32, slots)]
			from, old := table[below(r, neighbours)], *slot
			*slot = &node{link: from.link, replaced: old.replaced + 1, marker: nodeMarker}
		}
		done += run
		now := time.Now()
		runs = append(runs, uint64(now.Sub(then)))
		then = now
	}
	*state = rng
	return done
}

func graphCheck(ops uint64) {
	replaced := uint64(0)
	for _, n := range table {
		if n.marker != nodeMarker {
			die("a node was damaged")
		}
		for _, l := range n.link {
			if l.marker != nodeMarker {
				die("a link was damaged")
			}
		}
		replaced += n.replaced
	}
	if replaced != ops {
		die("a replacement was lost")
	}
}

func graphReport() {
	sort.Slice(runs, func(i, j int) bool { return runs[i] < runs[j] })
	n := len(runs)
	fmt.Printf("worst %.4f\n", float64(runs[n-1])/1e6)
	fmt.Printf("p99.9 %.4f\n", float64(runs[n-1-n/1000])/1e6)
}

func graph(nodes, ops uint64) uint64 {
	graphFill(nodes)
	stopsBegun = stops()
	beginTiming()
	runtime.GC()
	fmt.Printf("full %.4f\n", float64(time.Since(begun))/1e6)
	fmt.Printf("full-cpu %.4f\n", float64(cpuTime()-cpuBegun)/1e6)
	rng := uint64(1)
	beginTiming()
	return graphReplace(&rng, ops, nodes/2, nodes-nodes/2, nodes/2)
}

func curve(mib, ops uint64) uint64 {
	nodes := mib << 20 / uint64(unsafe.Sizeof(node{}))
	chunk := nodes / 16
	if chunk < 4096 {
		chunk = 4096
	}
	graphFill(nodes)
	stopsBegun = stops()
	runtime.GC()
	rng, done := uint64(1), uint64(0)
	beginTiming()
	first := collections()
	for now := first; ; {
		before, wanted := now, uint64(cycles)
		done += graphReplace(&rng, chunk, nodes-window, window, window)
		now = collections()
		if time.Since(begun) > curveLimit {
			wanted = 1
		}
		if done >= ops && now > before && now >= first+wanted {
			return done
		}
	}
}

// ---- gcbench ----

type benchThread struct {
	blocks uint
	last   []unsafe.Pointer
	_      [128]byte
}

func (t *benchThread) dropBlock() {
	words := garbageWords[t.blocks%garbage]
	t.blocks++
	if words != 0 {
		t.last = make([]unsafe.Pointer, words)
		*(*uint64)(unsafe.Pointer(&t.last[0])) = uint64(words)
	}
}

func (t *benchThread) populate(depth uint, n *benchNode) {
	if depth == 0 {
		return
	}
	t.dropBlock()
	n.left = &benchNode{}
	t.dropBlock()
	n.right = &benchNode{}
	t.populate(depth-1, n.left)
	t.populate(depth-1, n.right)
}

func (t *benchThread) make(depth uint) *benchNode {
	if depth == 0 {
		return &benchNode{}
	}
	left := t.make(depth - 1)
	right := t.make(depth - 1)
	t.dropBlock()
	return &benchNode{left: left, right: right}
}

func benchSize(depth uint) uint64 { return 2<<depth - 1 }

func (n *benchNode) depth() (depth uint) {
	for n.left != nil && n.right != nil {
		if depth%2 != 0 {
			n = n.left
		} else {
			n = n.right
		}
		depth++
	}
	return
}

func benchRun() {
	t := &benchThread{}
	long := &benchNode{}
	t.populate(treeDepth, long)
	array := make([]float64, arraySize)
	for i := 0; i < arraySize/2; i++ {
		array[i] = 1 / float64(i+1)
	}
	for d := uint(depthMin); d <= treeDepth; d += 2 {
		count := 2 * benchSize(treeDepth+2) / benchSize(d)
		for i := uint64(0); i < count; i++ {
			n := &benchNode{}
			t.populate(d, n)
			if n.depth() != d {
				die("a tree was damaged")
			}
		}
		for i := uint64(0); i < count; i++ {
			if t.make(d).depth() != d {
				die("a tree was damaged")
			}
		}
	}
	if long.depth() != treeDepth || array[1000] != 1/float64(1001) {
		die("what lives long was damaged")
	}
}

func garbageDraw() {
	rng := uint64(20261124)
	for i := range garbageWords {
		words := uint8(0)
		for below(next(&rng), 100) >= 15 {
			words++
		}
		if words > 0 {
			garbageWords[i] = words + 1
		}
	}
}

func gcbench(threads, garbage uint64) uint64 {
	var ended sync.WaitGroup
	if garbage != 0 {
		garbageDraw()
	}
	beginTiming()
	for i := uint64(0); i < threads; i++ {
		ended.Add(1)
		go func() {
			benchRun()
			ended.Done()
		}()
	}
	ended.Wait()
	made := benchSize(treeDepth)
	for d := uint(depthMin); d <= treeDepth; d += 2 {
		made += 2 * benchSize(d) * (2 * benchSize(treeDepth+2) / benchSize(d))
	}
	live := 2*benchSize(treeDepth)*uint64(unsafe.Sizeof(benchNode{})) + arraySize*8
	fmt.Printf("live %.4f\n", float64(threads*live)/1048576)
	return threads * made
}

// ---- running one ----

func read(name string) metrics.Value {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	return sample[0].Value
}

func collections() uint64 { return read("/gc/cycles/total:gc-cycles").Uint64() }

func stops() *metrics.Float64Histogram { return read("/gc/pauses:seconds").Float64Histogram() }

func longestStopMs() float64 {
	var m runtime.MemStats
	now, most := stops(), 0.0
	for i, count := range now.Counts {
		if stopsBegun != nil {
			count -= stopsBegun.Counts[i]
		}
		if count > 0 {
			most = now.Buckets[i+1]
			if math.IsInf(most, 0) {
				most = now.Buckets[i]
			}
		}
	}
	runtime.ReadMemStats(&m)
	if int(m.NumGC) <= len(m.PauseNs) {
		sum := uint64(0)
		for _, ns := range m.PauseNs {
			if ns > sum {
				sum = ns
			}
		}
		most = math.Min(most, float64(sum)/1e9)
	}
	return most * 1e3
}

func peakMiB() float64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if w := strings.Fields(s.Text()); len(w) > 1 && w[0] == "VmHWM:" {
			kib, _ := strconv.ParseFloat(w[1], 64)
			return kib / 1024
		}
	}
	return 0
}

func main() {
	workloads := map[string]func(size, ops uint64) uint64{
		"trees": trees, "graph": graph, "curve": curve, "gcbench": gcbench}
	args := append(os.Args, "0")
	if len(args) < 5 || workloads[args[1]] == nil {
		die("usage: gc-go WORKLOAD CPUS SIZE [OPS]")
	}
	cpus, _ := strconv.Atoi(args[2])
	size, _ := strconv.ParseUint(args[3], 10, 64)
	ops, _ := strconv.ParseUint(args[4], 10, 64)
	runtime.GOMAXPROCS(cpus)
	debug.SetGCPercent(100)
	if args[1] == "gcbench" {
		debug.SetGCPercent(150)
	}
	done := float64(workloads[args[1]](size, ops))
	wall, cpu, peak := float64(time.Since(begun)), float64(cpuTime()-cpuBegun), peakMiB()
	if table != nil {
		graphReport()
		graphCheck(uint64(done))
	}
	fmt.Println("version", strings.TrimPrefix(runtime.Version(), "go"))
	fmt.Printf("wall %.4f\n", wall/1e9)
	fmt.Printf("cpu %.4f\n", cpu/1e9)
	fmt.Printf("cpus %.2f\n", cpu/wall)
	fmt.Printf("ns/op %.3f\n", wall/done)
	fmt.Printf("cpu/op %.3f\n", cpu/done)
	fmt.Printf("peak %.2f\n", peak)
	fmt.Println("collections", collections())
	fmt.Printf("stop %.4f\n", longestStopMs())
}
