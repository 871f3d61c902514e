#!/usr/bin/env bash
# A real Slurm (Debian's packages) on this one host, for the cluster tests: slurmctld, CPU_NODES nodes without and
# GPU_NODES nodes with two stand-in GPUs, a partition whose jobs others preempt, and, unless SLURM_ACCT=none, accounting.
# Needs root, on a host that it may change (a container, a CI machine): it installs packages and links /etc/slurm/*.conf.
# May be run again: it starts what is not running. Ends with stop_slurm.sh.
#
# /etc/slurm is linked because the Snakemake plugin drops SLURM_CONF from the environment before it calls srun in a job.
set -euo pipefail
SLURM_ROOT=${SLURM_ROOT:-${TMPDIR:-/tmp}/slurm-one-host}
SLURM_ACCT=${SLURM_ACCT:-dbd}             # dbd | none
SLURM_LINK_ETC=${SLURM_LINK_ETC:-1}       # 1: /etc/slurm/*.conf -> $SLURM_ROOT/etc (needed by the plugin, see below)
SLURM_ACCOUNT=${SLURM_ACCOUNT:-lab}       # account made in slurmdbd
CPU_NODES=${CPU_NODES:-2}                 # cpu1..cpuN
GPU_NODES=${GPU_NODES:-2}                 # gpu1..gpuN, 2 fake GPUs each
[ "$(id -u)" = 0 ] || { echo "must be root" >&2; exit 1; }
if [ "$SLURM_LINK_ETC" = 1 ] && [ -e /etc/slurm/slurm.conf ] && [ ! -L /etc/slurm/slurm.conf ]; then
  echo "this host has a Slurm of its own (/etc/slurm/slurm.conf), which is left alone" >&2; exit 1
fi
mkdir -p "$SLURM_ROOT"
t0=$(date +%s.%N)
say() { printf '[start_slurm %6.1fs] %s\n' "$(echo "$(date +%s.%N) $t0" | awk '{print $1-$2}')" "$*"; }

# ---- 1. packages ---------------------------------------------------------
pk="munge slurm-client slurmctld slurmd"
[ "$SLURM_ACCT" = dbd ] && pk="$pk slurmdbd mariadb-server"
miss=""
for p in $pk; do
  dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || miss="$miss $p"
done
if [ -n "$miss" ]; then
  say "installing:$miss"
  # keep maintainer scripts from trying to start daemons (no init here)
  made_policy=0
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; made_policy=1
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $miss >"$SLURM_ROOT/apt.log" 2>&1 \
    || { tail -30 "$SLURM_ROOT/apt.log" >&2; exit 1; }
  rm -f "$SLURM_ROOT/apt.log"
  [ "$made_policy" = 1 ] && rm -f /usr/sbin/policy-rc.d
fi

# ---- 2. directories, munge key --------------------------------------------
umask 022
mkdir -p "$SLURM_ROOT"/{etc,run,log,state,spool,dev,mysql,munge}
chmod 700 "$SLURM_ROOT/munge"; chmod 755 "$SLURM_ROOT" "$SLURM_ROOT/run"
if [ ! -s "$SLURM_ROOT/munge/munge.key" ]; then
  ( umask 077; dd if=/dev/urandom of="$SLURM_ROOT/munge/munge.key" bs=1024 count=1 status=none )
  chmod 400 "$SLURM_ROOT/munge/munge.key"
fi

# ---- 3. configuration -------------------------------------------------------
HOST=$(hostname -s)
E=$SLURM_ROOT/etc
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
old_sum=$( { cat "$E/slurm.conf" "$E/gres.conf" 2>/dev/null || true; } | sha256sum )
{
cat <<CONF
ClusterName=onehost
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$SLURM_ROOT/run/munge.sock,cred_expire=10
StateSaveLocation=$SLURM_ROOT/state
SlurmdSpoolDir=$SLURM_ROOT/spool/%n
SlurmctldPidFile=$SLURM_ROOT/run/slurmctld.pid
SlurmdPidFile=$SLURM_ROOT/run/slurmd.%n.pid
SlurmctldLogFile=$SLURM_ROOT/log/slurmctld.log
SlurmdLogFile=$SLURM_ROOT/log/slurmd.%n.log
SlurmctldDebug=info
SlurmdDebug=info
# --- no systemd, no cgroups
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
SwitchType=switch/none
MpiDefault=none
PropagateResourceLimits=NONE
# --- virtual nodes claim more than the host has
SlurmdParameters=config_overrides
ReturnToService=2
# --- scheduling
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=5,sched_interval=5,batch_sched_delay=1,sched_min_interval=200000
PriorityType=priority/basic
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
GresTypes=gpu
MaxArraySize=1001
# --- timers, short, so that tests see what takes hours elsewhere
SlurmctldTimeout=30
SlurmdTimeout=15
InactiveLimit=0
KillWait=3
MinJobAge=600
Waittime=0
MessageTimeout=10
CompleteWait=0
DefMemPerCPU=200
CONF
if [ "$SLURM_ACCT" = dbd ]; then cat <<CONF
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=16819
AccountingStoragePass=$SLURM_ROOT/run/munge.sock
AccountingStorageTRES=gres/gpu
AccountingStorageEnforce=associations,limits
AccountingStoreFlags=job_comment
CONF
else cat <<CONF
AccountingStorageType=accounting_storage/none
CONF
fi
for i in $(seq 1 "$CPU_NODES"); do
  echo "NodeName=cpu$i NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$((17000+i)) Sockets=1 CoresPerSocket=8 ThreadsPerCore=1 RealMemory=8000 State=UNKNOWN"
done
for i in $(seq 1 "$GPU_NODES"); do
  echo "NodeName=gpu$i NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$((17100+i)) Sockets=1 CoresPerSocket=4 ThreadsPerCore=1 RealMemory=4000 Gres=gpu:a100:2 State=UNKNOWN"
done
cat <<CONF
PartitionName=cpu     Nodes=cpu[1-$CPU_NODES] Default=YES MaxTime=1-0 State=UP PriorityTier=5  PreemptMode=OFF
PartitionName=gpu     Nodes=gpu[1-$GPU_NODES] MaxTime=1-0 State=UP PriorityTier=5  PreemptMode=OFF
PartitionName=scavenge Nodes=gpu[1-$GPU_NODES] MaxTime=1-0 State=UP PriorityTier=1  PreemptMode=REQUEUE
CONF
} > "$E/slurm.conf"

# fake GPUs: File= must name a character or block device (a plain file is refused:
# "is not a valid character or block device, fix your gres.conf"); a symlink to
# /dev/null passes and needs no mknod. The trailing digit is what Slurm puts in
# CUDA_VISIBLE_DEVICES.
{
echo "AutoDetect=off"
for i in $(seq 1 "$GPU_NODES"); do
  mkdir -p "$SLURM_ROOT/dev/gpu$i"; rm -f "$SLURM_ROOT/dev/gpu$i"/*
  ln -sfn /dev/null "$SLURM_ROOT/dev/gpu$i/nvidia0"; ln -sfn /dev/null "$SLURM_ROOT/dev/gpu$i/nvidia1"
  echo "NodeName=gpu$i Name=gpu Type=a100 File=$SLURM_ROOT/dev/gpu$i/nvidia[0-1]"
done
} > "$E/gres.conf"
printf 'CgroupPlugin=cgroup/v1\nCgroupAutomount=no\nConstrainCores=no\nConstrainRAMSpace=no\nConstrainDevices=no\n' > "$E/cgroup.conf"
if [ "$SLURM_ACCT" = dbd ]; then
  cat > "$E/slurmdbd.conf" <<CONF
AuthType=auth/munge
AuthInfo=socket=$SLURM_ROOT/run/munge.sock
DbdHost=$HOST
DbdAddr=127.0.0.1
DbdPort=16819
SlurmUser=root
LogFile=$SLURM_ROOT/log/slurmdbd.log
PidFile=$SLURM_ROOT/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=13306
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
CONF
  chmod 600 "$E/slurmdbd.conf"
fi
new_sum=$(cat "$E/slurm.conf" "$E/gres.conf" | sha256sum)
if [ "$old_sum" != "$new_sum" ] && [ -s "$SLURM_ROOT/run/slurmctld.pid" ]; then
  say "configuration changed: stopping the old daemons first"
  SLURM_ROOT=$SLURM_ROOT "$HERE/stop_slurm.sh"
fi
if [ "$SLURM_LINK_ETC" = 1 ]; then
  mkdir -p /etc/slurm
  for f in slurm gres cgroup; do ln -sfn "$E/$f.conf" "/etc/slurm/$f.conf"; done
fi
cat > "$SLURM_ROOT/env.sh" <<CONF
export SLURM_CONF=$E/slurm.conf
CONF
export SLURM_CONF=$E/slurm.conf

# ---- 4. daemons -------------------------------------------------------------
# Child daemons must not hold our stdout/stderr open, or a caller that reads
# them through a pipe never sees end-of-file.
alive() { # pid file names a live, non-zombie process
  [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null \
    && [ "$(sed 's/.*) //' "/proc/$(cat "$1")/stat" 2>/dev/null | cut -c1)" != Z ]
}
wait_for() { # seconds, what, command...
  local n=$(( $1 * 5 )) what=$2; shift 2
  for _ in $(seq "$n"); do "$@" >/dev/null 2>&1 && return 0; sleep 0.2; done
  echo "timed out waiting for $what" >&2; return 1
}
R=$SLURM_ROOT/run; L=$SLURM_ROOT/log

if ! alive "$R/munged.pid"; then
  rm -f "$R/munge.sock"*
  munged --key-file="$SLURM_ROOT/munge/munge.key" --socket="$R/munge.sock" --pid-file="$R/munged.pid" \
         --log-file="$SLURM_ROOT/munge/munged.log" --seed-file="$SLURM_ROOT/munge/munged.seed" </dev/null >>"$L/munged.out" 2>&1
fi
wait_for 10 munge sh -c "munge -S $R/munge.sock -n | unmunge -S $R/munge.sock"
say "munged up"

if [ "$SLURM_ACCT" = dbd ]; then
  if ! alive "$R/mariadbd.pid"; then
    [ -d "$SLURM_ROOT/mysql/mysql" ] || mariadb-install-db --no-defaults --datadir="$SLURM_ROOT/mysql" \
        --user=root --auth-root-authentication-method=normal --skip-test-db </dev/null >"$L/mariadb-install.log" 2>&1
    setsid mariadbd --no-defaults --user=root --datadir="$SLURM_ROOT/mysql" --socket="$R/mysqld.sock" \
        --pid-file="$R/mariadbd.pid" --bind-address=127.0.0.1 --port=13306 \
        --innodb-buffer-pool-size=128M --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=2 \
        </dev/null >"$L/mariadbd.log" 2>&1 &
  fi
  wait_for 30 mariadbd mariadb-admin --no-defaults -uroot -S "$R/mysqld.sock" ping
  mariadb --no-defaults -uroot -S "$R/mysqld.sock" -e "CREATE DATABASE IF NOT EXISTS slurm_acct_db;
    CREATE USER IF NOT EXISTS 'slurm'@'127.0.0.1' IDENTIFIED BY 'slurm'; CREATE USER IF NOT EXISTS 'slurm'@'localhost' IDENTIFIED BY 'slurm';
    GRANT ALL ON slurm_acct_db.* TO 'slurm'@'127.0.0.1'; GRANT ALL ON slurm_acct_db.* TO 'slurm'@'localhost';"
  say "mariadbd up"
  alive "$R/slurmdbd.pid" || slurmdbd </dev/null >>"$L/slurmdbd.out" 2>&1
  wait_for 30 slurmdbd sacctmgr -n list cluster
  sacctmgr -n list cluster format=cluster | grep -qw onehost || sacctmgr -i add cluster onehost >/dev/null
  sacctmgr -n list account format=account | grep -qw "$SLURM_ACCOUNT" || \
      sacctmgr -i add account "$SLURM_ACCOUNT" Cluster=onehost Description=test Organization=test >/dev/null
  sacctmgr -n list assoc user=root account="$SLURM_ACCOUNT" format=user | grep -qw root || \
      sacctmgr -i add user root Account="$SLURM_ACCOUNT" DefaultAccount="$SLURM_ACCOUNT" >/dev/null
  say "slurmdbd up, account '$SLURM_ACCOUNT' ready"
fi

alive "$R/slurmctld.pid" || slurmctld </dev/null >>"$L/slurmctld.out" 2>&1
wait_for 20 slurmctld sh -c 'scontrol ping | grep -q "is UP"'
say "slurmctld up"
nodes=""
for i in $(seq 1 "$CPU_NODES"); do nodes="$nodes cpu$i"; done
for i in $(seq 1 "$GPU_NODES"); do nodes="$nodes gpu$i"; done
for n in $nodes; do
  mkdir -p "$SLURM_ROOT/spool/$n"
  alive "$R/slurmd.$n.pid" || slurmd -N "$n" </dev/null >>"$L/slurmd.$n.out" 2>&1
done
bad_nodes() { sinfo -h -N -o '%N %T' | grep -qvE ' (idle|mixed|allocated|completing)$'; }
for _ in $(seq 100); do bad_nodes || break; sleep 0.2; done
if bad_nodes; then
  for n in $nodes; do scontrol update NodeName="$n" State=RESUME 2>/dev/null || true; done
  for _ in $(seq 50); do bad_nodes || break; sleep 0.2; done
fi
bad_nodes && { sinfo -N -l; echo "some nodes are not up" >&2; exit 1; }
say "all nodes up; use:  source $SLURM_ROOT/env.sh"
sinfo
