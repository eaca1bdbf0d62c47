#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Proves that the modules come and go: they refuse to go while somebody needs
# them, go at once when nobody does, also after a process was killed in the middle
# of its work, and after many rounds leave no memory behind. TAP on stdout.
#
# MODDIR	where uvm.ko and uvm_sim.ko are (/modules)
# MODWORKER	helper_modworker (beside this script)
# SIM_PARAMS	parameters of uvm_sim
# UVM_ITER	10 rounds times this, at most 100
#
# The tests are called by name:
# shellcheck disable=SC2015,SC2317

here=$(dirname "$0")
moddir=${MODDIR:-/modules}
worker=${MODWORKER:-$here/helper_modworker}
params=${SIM_PARAMS-gpus=2 kind=private,private mem=16,16 pcimem=16}
iter=${UVM_ITER:-1}
rounds=$((iter * 10))
[ "$rounds" -gt 100 ] && rounds=100

number=0
failed=0
fifo=/tmp/modules.$$
worker_pid=

note() { echo "# $*"; }

# result NAME STATUS
result()
{
	number=$((number + 1))
	if [ "$2" -eq 0 ]; then
		echo "ok $number - $1"
	else
		echo "not ok $number - $1"
		failed=$((failed + 1))
	fi
}

skip()
{
	number=$((number + 1))
	echo "ok $number - $1 # SKIP $2"
}

loaded() { grep -q "^$1 " /proc/modules; }

# SIM_PARAMS is a list of words
# shellcheck disable=SC2086
load()
{
	insmod "$moddir/uvm.ko" || return 1
	insmod "$moddir/uvm_sim.ko" $params || return 1
	[ -c /dev/uvm ] || { note "load: no /dev/uvm"; return 1; }
}

# remove MODULE: at once, or after what a killed process left is cleaned up. A
# worker of the kernel may take a moment; more than 5 s is a failure.
remove()
{
	tries=0
	while ! rmmod "$1" 2>/dev/null; do
		tries=$((tries + 1))
		if [ "$tries" -ge 50 ]; then
			note "rmmod $1: still refused after $tries tries"
			return 1
		fi
		sleep 0.1
	done
	[ "$tries" -eq 0 ] || note "rmmod $1: $tries refusals before it went"
	if loaded "$1"; then
		note "rmmod $1: said yes, but it is still there"
		return 1
	fi
	return 0
}

unload() { remove uvm_sim && remove uvm; }

# must_refuse MODULE: and be none the worse for it
must_refuse()
{
	if rmmod "$1" 2>/dev/null; then
		note "rmmod $1: went, though in use"
		return 1
	fi
	loaded "$1" || { note "rmmod $1: refused, and yet gone"; return 1; }
}

# start MODE: a worker in the background, which has got to where it should
start()
{
	rm -f "$fifo"
	mkfifo "$fifo" || return 1
	"$worker" "$1" >"$fifo" &
	worker_pid=$!
	line=
	read -r line <"$fifo"
	rm -f "$fifo"
	[ "$line" = ready ] || { note "worker $1: not ready"; return 1; }
}

# stop: by SIGKILL
stop()
{
	kill -9 "$worker_pid" 2>/dev/null
	wait "$worker_pid" 2>/dev/null
	worker_pid=
	return 0
}

# finish: let it check its data
finish()
{
	kill -USR1 "$worker_pid" && wait "$worker_pid"
	status=$?
	worker_pid=
	[ "$status" -eq 0 ] || note "worker: exit status $status"
	return "$status"
}

gpu_count() { "$worker" count 2>/dev/null || echo 0; }

taint() { cat /proc/sys/kernel/tainted; }

# Free memory, that on the lists of single CPUs included
free_kib()
{
	sync
	echo 3 >/proc/sys/vm/drop_caches
	awk '/^MemFree:/ { kib += $2 } $1 == "count:" { kib += $2 * 4 }
		END { print kib }' /proc/meminfo /proc/zoneinfo
}

kmemleak=/sys/kernel/debug/kmemleak
[ -e "$kmemleak" ] || mount -t debugfs none /sys/kernel/debug 2>/dev/null

# ---- the tests ----

test_load()
{
	load || return 1
	n=$(gpu_count)
	note "$n GPUs"
	[ "$n" -ge 1 ] || { note "load: no GPU appeared"; return 1; }
	must_refuse uvm || return 1
	unload || return 1
	[ ! -e /dev/uvm ] || { note "unload: /dev/uvm is still there"; return 1; }
}

test_wrong_order()
{
	if insmod "$moddir/uvm_sim.ko" 2>/dev/null; then
		note "uvm_sim loaded without uvm"
		return 1
	fi
	insmod "$moddir/uvm.ko" || return 1
	[ "$(gpu_count)" -eq 0 ] || { note "GPUs without a backend"; return 1; }
	remove uvm
}

test_run()
{
	load || return 1
	"$worker" run || return 1
	"$worker" run || return 1
	unload
}

# An open file needs uvm, though no GPU.
test_refuse_space()
{
	load && start space || return 1
	status=0
	remove uvm_sim || status=1
	must_refuse uvm || status=1
	stop
	remove uvm || status=1
	return "$status"
}

test_refuse_registered()
{
	load && start hold || return 1
	status=0
	must_refuse uvm_sim || status=1
	must_refuse uvm || status=1
	finish || status=1
	unload || status=1
	return "$status"
}

test_refuse_resident()
{
	load && start resident || return 1
	status=0
	must_refuse uvm_sim || status=1
	finish || status=1
	unload || status=1
	return "$status"
}

# Takes all GPUs from their drivers; says for how many seconds.
unbind_all()
{
	began=$(date +%s)
	for dev in /sys/bus/platform/drivers/uvm_sim/uvm_sim.* \
		   /sys/bus/pci/drivers/uvm_sim/*:*; do
		[ -e "$dev" ] || continue
		echo "${dev##*/}" >"${dev%/*}/unbind" || return 1
	done
	note "unbinding took $(($(date +%s) - began)) s"
}

# The backend goes, though pages wait to be read; uvm goes with the last of them.
test_parked()
{
	load && start kept || return 1
	status=0
	must_refuse uvm_sim || status=1
	unbind_all || status=1
	[ "$(gpu_count)" -eq 0 ] || status=1
	remove uvm_sim || status=1
	must_refuse uvm || status=1
	finish || status=1
	remove uvm || status=1
	return "$status"
}

test_killed()
{
	for mode in hold resident churn; do
		load && start "$mode" || return 1
		stop
		unload || { note "after killing $mode"; return 1; }
	done
}

one_round()
{
	load || return 1
	"$worker" run || return 1
	start churn || return 1
	must_refuse uvm_sim || return 1
	stop
	unload
}

test_rounds()
{
	i=0
	while [ "$i" -lt "$rounds" ]; do
		i=$((i + 1))
		one_round || { note "round $i of $rounds"; return 1; }
	done
	note "$i rounds"
}

test_memory()
{
	# freed memory stays in KASAN's quarantine, up to 1/32 of all
	allowed=$((4096 + rounds * 32))
	grep -q ' kasan_report$' /proc/kallsyms && allowed=$((allowed + 98304))
	lost=$((free_before - free_after))
	note "free: $free_before KiB before, $free_after KiB after, $allowed KiB may be lost"
	[ "$lost" -le "$allowed" ]
}

test_kmemleak()
{
	# objects younger than 5 s aren't reported, and one scan may err
	echo scan >"$kmemleak"
	sleep 6
	echo scan >"$kmemleak"
	echo scan >"$kmemleak"
	leaks=$(cat "$kmemleak")
	[ -z "$leaks" ] && return 0
	echo "$leaks" | head -n 60 | sed 's/^/# /'
	return 1
}

test_taint()
{
	# died, bad page, WARN, soft lockup
	bad=$(((1 << 5) | (1 << 7) | (1 << 9) | (1 << 14)))
	now=$(taint)
	[ $((now & bad & ~taint_before)) -eq 0 ] && return 0
	note "the kernel complained: taint $now"
	return 1
}

run()
{
	"test_$1"
	status=$?
	if [ -n "$worker_pid" ]; then
		stop
	fi
	loaded uvm_sim && rmmod uvm_sim
	loaded uvm && rmmod uvm
	result "$1" "$status"
}

echo 1..13
if [ ! -x "$worker" ] || [ ! -e "$moddir/uvm.ko" ]; then
	echo "Bail out! no $worker or no $moddir/uvm.ko"
	exit 1
fi
loaded uvm_sim && rmmod uvm_sim
loaded uvm && rmmod uvm
taint_before=$(taint)

run load
run wrong_order
run run
run refuse_space
run refuse_registered
run refuse_resident
load && "$worker" private
private=$?
unload
if [ "$private" -eq 0 ]; then
	run parked
else
	skip parked "the kernel has no private memory"
fi
run killed

# warm: slabs, per-CPU lists and page tables that stay
warm=0
one_round && one_round || warm=1
result warm_up "$warm"
[ -e "$kmemleak" ] && echo clear >"$kmemleak"
free_before=$(free_kib)
run rounds
free_after=$(free_kib)
run memory
if [ -e "$kmemleak" ] && cat "$kmemleak" >/dev/null 2>&1; then
	run kmemleak
else
	skip kmemleak "the kernel has none"
fi
run taint
exit $((failed != 0))
