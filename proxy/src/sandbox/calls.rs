//! Seccomp: calls of the system that an edge does not need fail with `EPERM`.
//!
//! The list is what the program, its allocator, its runtime and the C library call between the first visitor and the
//! last, and what a process that takes over calls from its first instruction on: it starts under the same filter.
//! Nobody is killed: what is refused is an error for whoever asked.

use std::collections::BTreeMap;

use anyhow::Context;
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter_all_threads,
};

/// Calls that are let through whatever their arguments.
#[rustfmt::skip]
const CALLS: &[i64] = &[
    // Content.
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64, libc::SYS_pwrite64,
    libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_preadv2, libc::SYS_pwritev2, libc::SYS_sendfile,
    libc::SYS_splice, libc::SYS_copy_file_range, libc::SYS_lseek,
    // Descriptors.
    libc::SYS_close, libc::SYS_close_range, libc::SYS_dup, libc::SYS_dup3, libc::SYS_fcntl, libc::SYS_flock,
    libc::SYS_pipe2, libc::SYS_eventfd2, libc::SYS_timerfd_create, libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    // Files and folders.
    libc::SYS_openat, libc::SYS_openat2, libc::SYS_newfstatat, libc::SYS_fstat, libc::SYS_statx, libc::SYS_statfs,
    libc::SYS_fstatfs, libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_getdents64, libc::SYS_getcwd,
    libc::SYS_readlinkat, libc::SYS_mkdirat, libc::SYS_unlinkat, libc::SYS_renameat2, libc::SYS_linkat,
    libc::SYS_symlinkat, libc::SYS_fchmod, libc::SYS_fchmodat, libc::SYS_fchown, libc::SYS_fchownat,
    libc::SYS_ftruncate, libc::SYS_truncate, libc::SYS_fallocate, libc::SYS_fadvise64, libc::SYS_fsync,
    libc::SYS_fdatasync, libc::SYS_sync_file_range, libc::SYS_utimensat, libc::SYS_umask,
    // Memory.
    libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_mprotect, libc::SYS_madvise, libc::SYS_brk,
    libc::SYS_mincore, libc::SYS_membarrier,
    // Waiting.
    libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_ppoll,
    libc::SYS_pselect6, libc::SYS_futex, libc::SYS_nanosleep, libc::SYS_clock_nanosleep, libc::SYS_sched_yield,
    // Sockets; which ones may be made is told below.
    libc::SYS_bind, libc::SYS_listen, libc::SYS_accept, libc::SYS_accept4, libc::SYS_connect,
    libc::SYS_getsockname, libc::SYS_getpeername, libc::SYS_sendto, libc::SYS_recvfrom, libc::SYS_sendmsg,
    libc::SYS_recvmsg, libc::SYS_sendmmsg, libc::SYS_recvmmsg, libc::SYS_shutdown, libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    // Threads, and the process that takes over.
    libc::SYS_clone3, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_wait4, libc::SYS_waitid, libc::SYS_kill,
    libc::SYS_tkill, libc::SYS_tgkill, libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal,
    libc::SYS_set_robust_list, libc::SYS_get_robust_list, libc::SYS_set_tid_address, libc::SYS_rseq,
    libc::SYS_sched_getaffinity, libc::SYS_sched_setaffinity, libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler, libc::SYS_getpriority, libc::SYS_setpriority, libc::SYS_getcpu,
    libc::SYS_setsid, libc::SYS_setpgid,
    // Signals.
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_rt_sigpending,
    libc::SYS_rt_sigsuspend, libc::SYS_rt_sigtimedwait, libc::SYS_sigaltstack, libc::SYS_restart_syscall,
    // What time it is, who and where this is.
    libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_gettimeofday, libc::SYS_times, libc::SYS_getpid,
    libc::SYS_getppid, libc::SYS_gettid, libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid,
    libc::SYS_getresuid, libc::SYS_getresgid, libc::SYS_getgroups, libc::SYS_getpgid, libc::SYS_getsid,
    libc::SYS_uname, libc::SYS_sysinfo, libc::SYS_getrlimit, libc::SYS_setrlimit, libc::SYS_prlimit64,
    libc::SYS_getrusage, libc::SYS_getrandom, libc::SYS_prctl, libc::SYS_capget,
    // What only takes more away: the process that takes over does.
    libc::SYS_seccomp, libc::SYS_landlock_create_ruleset, libc::SYS_landlock_add_rule,
    libc::SYS_landlock_restrict_self,
];

/// Older forms of the same that only this architecture has.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OLDER: &[i64] = &[
    libc::SYS_open, libc::SYS_creat, libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_readlink,
    libc::SYS_mkdir, libc::SYS_rmdir, libc::SYS_unlink, libc::SYS_rename, libc::SYS_renameat, libc::SYS_link,
    libc::SYS_symlink, libc::SYS_chmod, libc::SYS_chown, libc::SYS_lchown, libc::SYS_getdents, libc::SYS_dup2,
    libc::SYS_pipe, libc::SYS_poll, libc::SYS_select, libc::SYS_epoll_create, libc::SYS_epoll_wait,
    libc::SYS_eventfd, libc::SYS_time, libc::SYS_getpgrp, libc::SYS_pause, libc::SYS_arch_prctl,
];
/// Older forms of the same that only this architecture has.
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[i64] = &[libc::SYS_renameat];

/// Of these there is one more each for a process that takes over.
#[cfg(target_arch = "x86_64")]
const STARTING: &[i64] = &[libc::SYS_execve, libc::SYS_fork, libc::SYS_vfork];
/// Of these there is one more each for a process that takes over.
#[cfg(not(target_arch = "x86_64"))]
const STARTING: &[i64] = &[libc::SYS_execve];

/// Sockets towards visitors, shops, names and systemd. Names of servers are looked up by a resolver of our own, which asks
/// no kernel for addresses; that of an authority for certificates by the C library, which takes both kinds where it may
/// not ask.
const FAMILIES: [i32; 3] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];

/// What is asked of descriptors: whether one is a terminal, how much can be read, and not to wait.
#[expect(
    clippy::unnecessary_cast,
    reason = "with other C libraries they are of another type"
)]
const REQUESTS: [u64; 7] = [
    libc::FIONBIO as u64,
    libc::FIONREAD as u64,
    libc::FIOCLEX as u64,
    libc::FIONCLEX as u64,
    libc::TCGETS as u64,
    libc::TIOCGWINSZ as u64,
    // TCGETS2, which newer C libraries ask.
    0x802c_542a,
];

/// A process of ours has no namespace of its own.
const NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// What is let through.
pub(super) struct Calls {
    rules: BTreeMap<i64, Vec<SeccompRule>>,
}

impl Calls {
    /// For a process that may start another one, or may not.
    ///
    /// # Errors
    /// A rule cannot be made.
    pub(super) fn of(starts: bool) -> anyhow::Result<Self> {
        let starting = if starts { STARTING } else { &[] };
        let plain = CALLS.iter().chain(OLDER).chain(starting);
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
            plain.map(|call| (*call, Vec::new())).collect();
        let families = FAMILIES.iter().map(|family| *family as u64);
        let families = families.map(|family| rule(0, Length::Dword, Op::Eq, family));
        let families: Vec<_> = families.collect::<anyhow::Result<_>>()?;
        rules.insert(libc::SYS_socketpair, families.clone());
        rules.insert(libc::SYS_socket, families);
        let requests = REQUESTS
            .iter()
            .map(|request| rule(1, Length::Dword, Op::Eq, *request));
        rules.insert(libc::SYS_ioctl, requests.collect::<anyhow::Result<_>>()?);
        let flags = NAMESPACES as u64;
        rules.insert(
            libc::SYS_clone,
            vec![rule(0, Length::Qword, Op::MaskedEq(flags), 0)?],
        );
        Ok(Self { rules })
    }

    /// How many calls there are.
    pub(super) fn count(&self) -> usize {
        self.rules.len()
    }

    /// Tells lists apart.
    pub(super) fn digest(&self) -> String {
        let hash = blake3::hash(format!("{:?}", self.rules).as_bytes()).to_hex();
        hash[..16].to_owned()
    }

    /// Puts the filter in force for all threads.
    ///
    /// # Errors
    /// The kernel takes none, or this machine is of another kind.
    pub(super) fn enforce(self) -> anyhow::Result<()> {
        let arch = TargetArch::try_from(std::env::consts::ARCH).context("seccomp")?;
        let refused = SeccompAction::Errno(libc::EPERM as u32);
        let filter = SeccompFilter::new(self.rules, refused, SeccompAction::Allow, arch)
            .context("seccomp")?;
        let filter: BpfProgram = filter.try_into().context("seccomp")?;
        // Its flags lie in memory, where no filter sees them: the C library takes the older call, whose flags do not.
        let unknown = SeccompAction::Errno(libc::ENOSYS as u32);
        let one = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
        let older =
            SeccompFilter::new(one, SeccompAction::Allow, unknown, arch).context("seccomp")?;
        let older: BpfProgram = older.try_into().context("seccomp")?;
        apply_filter_all_threads(&older).context("seccomp")?;
        apply_filter_all_threads(&filter).context("seccomp")
    }
}

fn rule(argument: u8, length: Length, op: Op, value: u64) -> anyhow::Result<SeccompRule> {
    let condition = SeccompCondition::new(argument, length, op, value).context("seccomp")?;
    SeccompRule::new(vec![condition]).context("seccomp")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_lets_the_same_sockets_be_made() {
        let unit = include_str!("../../../config/dhal.service");
        let families = unit
            .lines()
            .find_map(|line| line.strip_prefix("RestrictAddressFamilies="));
        let mut families: Vec<_> = families
            .expect("a line")
            .split(' ')
            .map(|family| match family {
                "AF_UNIX" => libc::AF_UNIX,
                "AF_INET" => libc::AF_INET,
                "AF_INET6" => libc::AF_INET6,
                other => panic!("{other}: is it needed?"),
            })
            .collect();
        families.sort_unstable();
        let mut own = FAMILIES;
        own.sort_unstable();
        assert_eq!(families, own);
    }

    #[test]
    fn what_breaks_out_is_not_on_the_list() {
        let calls = Calls::of(true).expect("a list");
        for call in [
            libc::SYS_ptrace,
            libc::SYS_mount,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_io_uring_setup,
            libc::SYS_process_vm_writev,
            libc::SYS_keyctl,
            libc::SYS_setuid,
            libc::SYS_memfd_create,
            libc::SYS_execveat,
            libc::SYS_chroot,
            libc::SYS_userfaultfd,
        ] {
            assert!(!calls.rules.contains_key(&call), "{call}");
        }
        let without = Calls::of(false).expect("a list");
        assert!(!without.rules.contains_key(&libc::SYS_execve));
        assert_ne!(calls.digest(), without.digest());
        assert_eq!(calls.digest(), Calls::of(true).expect("a list").digest());
    }
}
