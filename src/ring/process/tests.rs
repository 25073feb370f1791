use std::thread;

use super::*;

#[test]
fn a_thread_moves_to_the_core_it_is_pinned_to() {
    let cpus = usable_cpus();
    assert!(!cpus.is_empty());
    let &last = cpus.last().expect("not empty");
    thread::spawn(move || {
        pin_current_thread(last).expect("a usable core");
        assert_eq!(usable_cpus(), [last]);
        assert_eq!(rustix::thread::sched_getcpu(), last);
    })
    .join()
    .expect("pinned");
    assert!(pin_current_thread(CpuSet::MAX_CPU).is_err(), "no such core");
    assert_eq!(usable_cpus(), cpus, "the other thread keeps its cores");
}

#[test]
fn each_signal_arrives_as_its_value() {
    thread::spawn(|| {
        block_signals().expect("blocked");
        for (number, signal) in [
            (libc::SIGUSR1, Signal::User1),
            (libc::SIGHUP, Signal::HangUp),
            (libc::SIGTERM, Signal::Terminate),
            (libc::SIGINT, Signal::Interrupt),
        ] {
            // SAFETY: raise takes a number; the signal goes to this thread alone, which has it blocked.
            assert_eq!(unsafe { libc::raise(number) }, 0);
            assert_eq!(wait_for_signal(), signal);
        }
    })
    .join()
    .expect("all four");
}

#[test]
fn a_pid_file_names_the_process_and_goes_with_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("server.pid");
    std::fs::write(&path, "not a number\n").expect("a leftover");
    let file = PidFile::create(path.clone()).expect("written over the leftover");
    assert_eq!(std::fs::read_to_string(&path).expect("there"), format!("{}\n", std::process::id()));
    drop(file);
    assert!(!path.exists());
    assert_eq!(std::fs::read_dir(directory.path()).expect("read").count(), 0, "no second file is left");
}

#[test]
fn a_pid_file_that_another_process_took_over_stays() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("server.pid");
    let file = PidFile::create(path.clone()).expect("written");
    std::fs::write(&path, "1\n").expect("taken over");
    drop(file);
    assert_eq!(std::fs::read_to_string(&path).expect("there"), "1\n");
}

#[test]
fn users_are_found_by_name() {
    assert!(find_user("root").is_ok());
    let error = find_user("no-such-user-here").expect_err("nobody has that name");
    assert_eq!(error.exit_code(), EX_NOUSER);
    assert!(error.to_string().contains("no-such-user-here"));
    assert!(find_user("a\0b").is_err());
}

#[test]
fn a_limit_that_suffices_is_left_alone_and_one_beyond_the_kernels_is_refused() {
    let before = getrlimit(Resource::Nofile).current;
    raise_open_files(1).expect("one file is always allowed");
    assert_eq!(getrlimit(Resource::Nofile).current, before);
    // beyond fs.nr_open, which root cannot pass either
    let error = raise_open_files(1 << 40).expect_err("no kernel allows that many");
    assert!(error.to_string().contains("lower -c"), "{error}");
    assert_eq!(error.exit_code(), EX_OSERR);
}
