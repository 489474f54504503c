//! Caches and artifacts through the helper's requests (`executors.md` §5, §6); archives are read back by Harrier and by
//! Python's zipfile.

mod jobs;

use harrier_base::{Secret, Variable};
use harrier_plan::{ArchiveFormat, ArtifactDownload, ArtifactUpload, CacheOp, CompressionLevel, Op};
use jobs::{Job, git, repository};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

fn cache(paths: &[&str]) -> CacheOp {
    CacheOp {
        keys: vec!["main-1".into()],
        human_key: "main-1".into(),
        paths: paths.iter().map(|p| (*p).to_owned()).collect(),
        untracked: false,
        format: ArchiveFormat::Zip,
        level: CompressionLevel::Default,
        timeout: Duration::from_secs(600),
        clean_failed_extract: false,
    }
}

fn artifact(paths: &[&str]) -> ArtifactUpload {
    ArtifactUpload {
        name: String::new(),
        paths: paths.iter().map(|p| (*p).to_owned()).collect(),
        exclude: vec![],
        untracked: false,
        expire_in: "1 week".into(),
        artifact_type: "archive".into(),
        artifact_format: ArchiveFormat::Zip,
        level: CompressionLevel::Default,
        upload_timeout: Duration::from_secs(60),
        response_header_timeout: Duration::from_secs(60),
        provenance: None,
    }
}

fn up(artifact: ArtifactUpload) -> Vec<Op> {
    vec![Op::UploadArtifacts(artifact)]
}

fn down(job: &Job) -> Vec<Op> {
    vec![Op::DownloadArtifacts(ArtifactDownload {
        job_id: job.id,
        job_name: "build".into(),
        token: Secret::new("dependency-token"),
        filename: "artifacts.zip".into(),
        direct_download: true,
    })]
}

fn kept(job: &Job, kind: &str, name: &str) -> PathBuf {
    job.place.path().join("artifacts").join(job.id.to_string()).join(kind).join(name)
}

fn forget(job: &Job) {
    fs::remove_dir_all(&job.dirs.project).expect("removed");
    fs::create_dir_all(&job.dirs.project).expect("made");
}

/// Names in the order of the archive.
fn names(archive: &Path) -> Vec<String> {
    let file = fs::File::open(archive).expect("there");
    let mut zip = zip::ZipArchive::new(file).expect("a zip file");
    (0..zip.len())
        .map(|at| zip.by_index(at).expect("an entry").name().expect("a name").into_owned())
        .collect()
}

fn plain(log: &str) -> String {
    let mut out = String::new();
    let mut rest = log;
    while let Some(at) = rest.find('\x1b') {
        out.push_str(&rest[..at]);
        rest = rest[at..].split_once('m').map_or("", |(_, after)| after);
    }
    out + rest
}

/// A tree with everything an archive must keep.
fn fill(job: &Job) {
    job.put("build/a.txt", "alpha");
    job.put("build/sub/b.bin", &"beta".repeat(60_000));
    job.put("build/run.sh", "#!/bin/sh\n");
    job.put("build/ümlaut ☺.txt", "u");
    fs::create_dir_all(job.project("build/empty")).expect("made");
    symlink("a.txt", job.project("build/link")).expect("linked");
    symlink("/nowhere/at/all", job.project("build/dangling")).expect("linked");
    fs::set_permissions(job.project("build/run.sh"), fs::Permissions::from_mode(0o750)).expect("set");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_001);
    for path in ["build/a.txt", "build/empty"] {
        fs::File::open(job.project(path)).expect("open").set_modified(time).expect("set");
    }
}

fn check(job: &Job) {
    assert_eq!(job.read("build/a.txt"), "alpha");
    assert_eq!(job.read("build/sub/b.bin"), "beta".repeat(60_000));
    assert_eq!(job.read("build/ümlaut ☺.txt"), "u");
    assert_eq!(fs::read_link(job.project("build/link")).expect("a link"), Path::new("a.txt"));
    assert_eq!(fs::read_link(job.project("build/dangling")).expect("a link"), Path::new("/nowhere/at/all"));
    let meta = fs::metadata(job.project("build/run.sh")).expect("there");
    assert_eq!(meta.permissions().mode() & 0o777, 0o750);
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_001);
    for path in ["build/a.txt", "build/empty"] {
        assert_eq!(
            fs::metadata(job.project(path)).expect("there").modified().expect("a time"),
            time,
            "{path}"
        );
    }
}

#[test]
fn a_cache_comes_back_whole_in_every_format() {
    for format in [ArchiveFormat::Zip, ArchiveFormat::Zipzstd, ArchiveFormat::Tarzstd] {
        for level in [CompressionLevel::Fastest, CompressionLevel::Default, CompressionLevel::Slowest] {
            let job = Job::new();
            fill(&job);
            let cache = CacheOp { format, level, ..cache(&["build/"]) };
            let log = job.runs(vec![Op::SaveCache(cache.clone())]);
            let words = plain(&log);
            let lines: Vec<&str> = words.lines().map(str::trim_end).collect();
            assert_eq!(
                lines,
                [
                    "Creating cache main-1...",
                    "build: found 9 matching artifact files and directories",
                    "No URL provided, cache will not be uploaded to shared cache server. Cache will be stored only \
                     locally.",
                    "Created cache",
                ]
            );
            let dir = job.dirs.cache.join("main-1");
            assert_eq!(
                fs::read_to_string(dir.join("metadata.json")).expect("there"),
                "{\"cachekey\":\"main-1\"}"
            );
            assert_eq!(fs::read_dir(&dir).expect("listed").count(), 2, "nothing unfinished stays");
            forget(&job);
            job.put("build/a.txt", "in the way");
            symlink("/etc/hostname", job.project("build/run.sh")).expect("linked");
            let log = job.runs(vec![Op::RestoreCache(cache)]);
            assert!(log.contains("\x1b[32;1mChecking cache for main-1...\x1b[0;m\n"), "{log}");
            assert!(log.contains("\x1b[32;1mSuccessfully extracted cache\x1b[0;m\n"), "{log}");
            check(&job);
        }
    }
}

#[test]
fn a_cache_is_made_anew_only_when_a_file_is_newer() {
    let job = Job::new();
    fill(&job);
    let save = || job.runs(vec![Op::SaveCache(cache(&["build"]))]);
    save();
    assert!(save().contains("Archive is up to date!"));
    let later = SystemTime::now() + Duration::from_secs(5);
    fs::File::open(job.project("build/a.txt")).expect("open").set_modified(later).expect("set");
    assert!(!save().contains("Archive is up to date!"));
}

#[test]
fn fallback_keys_are_tried_in_order() {
    let job = Job::new();
    job.put("vendor/x", "x");
    job.runs(vec![Op::SaveCache(CacheOp { keys: vec!["old".into()], ..cache(&["vendor"]) })]);
    forget(&job);
    let wanted = CacheOp { keys: vec!["new".into(), "old".into(), "older".into()], ..cache(&["vendor"]) };
    let log = plain(&job.runs(vec![Op::RestoreCache(wanted)]));
    let lines: Vec<&str> =
        log.lines().map(str::trim_end).filter(|line| !line.starts_with("No URL")).collect();
    assert_eq!(
        lines,
        [
            "Checking cache for main-1...",
            "WARNING: Cache file does not exist",
            "Failed to extract cache",
            "Checking cache for old...",
            "Successfully extracted cache",
        ]
    );
    assert_eq!(job.read("vendor/x"), "x");
}

#[test]
fn a_broken_cache_is_a_warning_and_can_be_cleaned_up() {
    let job = Job::new();
    job.put("vendor/half", "x");
    let dir = job.dirs.cache.join("main-1");
    fs::create_dir_all(&dir).expect("made");
    fs::write(dir.join("cache.zip"), "not a zip file").expect("written");
    let log = job.runs(vec![Op::RestoreCache(cache(&["vendor"]))]);
    assert!(log.contains("Failed to extract cache") && log.contains("cannot be unpacked"), "{log}");
    assert!(job.project("vendor/half").exists());
    job.runs(vec![Op::RestoreCache(CacheOp { clean_failed_extract: true, ..cache(&["vendor"]) })]);
    assert!(!job.project("vendor").exists());
    let log = job.runs(vec![Op::SaveCache(CacheOp { keys: vec!["../../x".into()], ..cache(&["vendor"]) })]);
    assert!(log.contains("leads out of the cache directory") && log.contains("Failed to create"), "{log}");
}

#[test]
fn jobs_that_save_one_key_at_once_do_not_spoil_it() {
    let job = Job::new();
    fill(&job);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let _ = fs::remove_file(job.dirs.cache.join("main-1/cache.zip"));
                    let request = job.request(vec![Op::SaveCache(cache(&["build"]))]);
                    let mut log = Vec::new();
                    assert_eq!(harrier_helper::run(&request, &mut log), 0);
                    let log = String::from_utf8_lossy(&log).into_owned();
                    assert!(!log.contains("Failed"), "{log}");
                }
            });
        }
    });
    job.runs(vec![Op::SaveCache(cache(&["build"]))]);
    assert_eq!(names(&job.dirs.cache.join("main-1/cache.zip")).len(), 9);
}

#[test]
fn an_artifact_travels_by_way_of_a_directory() {
    let job = Job::new();
    fill(&job);
    let log = job.runs(up(artifact(&["build/", "none/*"])));
    let words = plain(&log);
    let lines: Vec<&str> = words.lines().map(str::trim_end).collect();
    assert_eq!(
        lines,
        [
            "Uploading artifacts...",
            "build: found 9 matching artifact files and directories",
            &format!(
                "WARNING: none/*: no matching files. Ensure that the artifact path is relative to the working \
                 directory ({})",
                job.dirs.project.display()
            ),
            "Uploading artifacts as \"archive\" to coordinator... 201 Created  id=1 responseStatus=201 Created \
             token=job-token",
        ]
    );
    let meta = fs::read_to_string(kept(&job, "archive", "meta.json")).expect("there");
    assert_eq!(meta, r#"{"format":"zip","expire_in":"1 week","name":"artifacts.zip"}"#);
    forget(&job);
    let log = plain(&job.runs(down(&job)));
    assert!(log.starts_with("Downloading artifacts for build (1)...\n"), "{log}");
    assert!(log.contains("Downloading artifacts from coordinator... ok"), "{log}");
    check(&job);
    // The same again replaces it.
    job.runs(up(ArtifactUpload { name: "other".into(), ..artifact(&["build/a.txt"]) }));
    assert!(!kept(&job, "archive", "artifacts.zip").exists());
    assert_eq!(names(&kept(&job, "archive", "other.zip")), ["build/a.txt"]);
    let mut other = down(&job);
    if let Op::DownloadArtifacts(download) = &mut other[0] {
        download.job_id = 99;
    }
    let (code, log) = job.run(other);
    assert_eq!(code, 1);
    assert!(log.contains("cannot find the artifacts"), "{log}");
}

#[test]
fn other_programs_can_read_the_archives() {
    let job = Job::new();
    fill(&job);
    job.runs(up(artifact(&["build"])));
    let script = "import sys, zipfile\n\
        z = zipfile.ZipFile(sys.argv[1])\n\
        assert z.testzip() is None\n\
        for i in z.infolist(): print(i.filename, oct(i.external_attr >> 16), i.date_time[0])\n";
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(kept(&job, "archive", "artifacts.zip"))
        .output()
        .expect("python3 starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in [
        "build/a.txt 0o100644 2020",
        "build/run.sh 0o100750",
        "build/link 0o120777",
        "build/empty/ 0o40755 2020",
        "build/ümlaut ☺.txt",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn paths_are_expanded_chosen_and_excluded() {
    let mut job = Job::new();
    job.variables.push(Variable::public("OUT", "build"));
    job.variables.push(Variable::public("CI_PROJECT_DIR", job.dirs.project.to_string_lossy()));
    for file in
        ["build/a.o", "build/a.txt", "build/deep/er/b.txt", "build/.hidden.txt", "top.txt", "src/c.txt"]
    {
        job.put(file, "x");
    }
    fs::create_dir_all(&job.dirs.tmp).expect("made");
    fs::write(job.dirs.env_file(), "LATE=src\n").expect("written");
    let chosen = |paths: &[&str], exclude: &[&str]| {
        let exclude = exclude.iter().map(|p| (*p).to_owned()).collect();
        let log = job.runs(up(ArtifactUpload { exclude, ..artifact(paths) }));
        (names(&kept(&job, "archive", "artifacts.zip")), plain(&log))
    };
    let (found, log) = chosen(&["$OUT/**/*.txt", "${CI_PROJECT_DIR}/$LATE"], &[]);
    assert_eq!(found, ["build/.hidden.txt", "build/a.txt", "build/deep/er/b.txt", "src/", "src/c.txt"]);
    assert!(log.contains("build/**/*.txt: found 3 matching"), "{log}");
    assert!(log.contains("src: found 2 matching"), "{log}");
    let (found, log) = chosen(&["build"], &["build/**/*.txt", "$OUT/deep/**"]);
    assert_eq!(found, ["build/", "build/a.o"]);
    assert!(log.contains("build/**/*.txt: excluded 3 files"), "{log}");
    let (found, _) = chosen(&["{top,src/c}.txt", "build/./deep/../a.*"], &["**/*.o"]);
    assert_eq!(found, ["build/a.txt", "src/c.txt", "top.txt"]);
    let (found, log) = chosen(&["../outside", "/etc/passwd", "[", "top.txt", "$(id)"], &["["]);
    assert_eq!(found, ["top.txt"]);
    assert_eq!(log.matches("artifact path is not a subpath of project directory").count(), 2, "{log}");
    assert!(log.contains("[: syntax error in pattern") && log.contains("invalid path \"$(id)\""), "{log}");
    // GitLab Runner counts a file once for each match it lies in.
    let (_, log) = chosen(&["build/**"], &[]);
    assert!(log.contains("build/**: found 16 matching"), "{log}");
}

#[test]
fn links_do_not_lead_out_while_choosing() {
    let job = Job::new();
    let outside = job.place.path().join("outside");
    fs::create_dir_all(&outside).expect("made");
    fs::write(outside.join("secret.txt"), "x").expect("written");
    job.put("in/a.txt", "x");
    symlink(&outside, job.project("out")).expect("linked");
    symlink("in", job.project("alias")).expect("linked");
    let log = job.runs(up(artifact(&["**/*.txt", "out", "out/secret.txt", "out/*", "alias/a.txt"])));
    assert_eq!(names(&kept(&job, "archive", "artifacts.zip")), ["alias/a.txt", "in/a.txt", "out"]);
    assert_eq!(log.matches("outside build directory").count(), 2, "{log}");
}

#[test]
fn untracked_files_are_gits() {
    let job = Job::new();
    let source = repository(job.place.path(), "source");
    fs::create_dir_all(job.dirs.project.parent().expect("a parent")).expect("made");
    git(
        job.place.path(),
        &["clone", "-q", source.to_str().expect("UTF-8"), job.dirs.project.to_str().expect("UTF-8")],
    );
    job.put("new/ü.txt", "x");
    let log = job.runs(up(ArtifactUpload { untracked: true, ..artifact(&[]) }));
    assert!(log.contains("untracked: found 1 files"), "{log}");
    assert_eq!(names(&kept(&job, "archive", "artifacts.zip")), ["new/ü.txt"]);
}

#[test]
fn nothing_found_is_said_and_is_no_failure() {
    let job = Job::new();
    fs::create_dir_all(&job.dirs.project).expect("made");
    let log = job.runs(up(artifact(&["none"])));
    assert!(log.contains("\x1b[31;1mERROR: No files to upload"), "{log}");
    assert!(!job.place.path().join("artifacts").exists());
}

#[test]
fn reports_are_gzip_members_and_raw_is_the_file() {
    use std::io::Read;
    let mut job = Job::new();
    job.variables.push(Variable::public("N", "dot"));
    job.put("b.env", "B=2\n");
    job.put("a.env", "A=1\n");
    job.runs(up(ArtifactUpload {
        name: "x/${N}env".into(),
        artifact_type: "dotenv".into(),
        artifact_format: ArchiveFormat::Gzip,
        ..artifact(&["b.env", "a.env"])
    }));
    let bytes = fs::read(kept(&job, "dotenv", "dotenv.gz")).expect("there");
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_string(&mut text).expect("gzip");
    assert_eq!(text, "A=1\nB=2\n");
    let header = flate2::read::GzDecoder::new(bytes.as_slice());
    let header = header.header().expect("a header");
    assert_eq!((header.filename(), header.comment()), (Some(&b"a.env"[..]), Some(&b"a.env"[..])));
    let raw = |paths: &[&str]| ArtifactUpload {
        name: "one.txt".into(),
        artifact_type: "metrics".into(),
        artifact_format: ArchiveFormat::Raw,
        ..artifact(paths)
    };
    job.runs(up(raw(&["a.env"])));
    assert_eq!(fs::read(kept(&job, "metrics", "one.txt")).expect("there"), b"A=1\n");
    let (code, log) = job.run(up(raw(&["*.env"])));
    assert_eq!(code, 1);
    assert!(log.contains("must be exactly one file, but 2 match"), "{log}");
}

#[test]
fn a_provenance_statement_goes_along() {
    let mut job = Job::new();
    job.variables.push(Variable::public("CI_JOB_STARTED_AT", "2026-01-02T03:04:05Z"));
    job.put("a.txt", "alpha");
    let facts =
        serde_json::json!({ "_type": "t", "subject": [], "predicate": { "runDetails": { "metadata": {} } } });
    job.runs(up(ArtifactUpload { name: "pkg".into(), provenance: Some(facts), ..artifact(&["a.txt"]) }));
    let archive = kept(&job, "archive", "pkg.zip");
    assert_eq!(names(&archive), ["a.txt", "pkg-metadata.json"]);
    let mut zip = zip::ZipArchive::new(fs::File::open(archive).expect("there")).expect("a zip file");
    let statement: serde_json::Value =
        serde_json::from_reader(zip.by_name("pkg-metadata.json").expect("there")).expect("JSON");
    assert_eq!(statement["subject"][0]["name"], "a.txt");
    assert_eq!(
        statement["subject"][0]["digest"]["sha256"],
        "8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8"
    );
    let metadata = &statement["predicate"]["runDetails"]["metadata"];
    assert_eq!(metadata["startedOn"], "2026-01-02T03:04:05Z");
    assert!(metadata["finishedOn"].as_str().is_some_and(|text| text.ends_with('Z')));
}

#[test]
fn many_files_are_archived_in_order_by_all_cores() {
    let job = Job::new();
    for n in 0..300 {
        job.put(&format!("many/{n:03}.txt"), &format!("{n}").repeat(5_000));
    }
    job.runs(up(artifact(&["many"])));
    let found = names(&kept(&job, "archive", "artifacts.zip"));
    let mut sorted = found.clone();
    sorted.sort();
    assert_eq!((found.len(), &found), (301, &sorted));
    forget(&job);
    job.runs(down(&job));
    assert_eq!(job.read("many/123.txt"), "123".repeat(5_000));
    // The same files make the same archive, byte for byte.
    let again = || {
        job.runs(up(artifact(&["many"])));
        fs::read(kept(&job, "archive", "artifacts.zip")).expect("there")
    };
    assert!(again() == again());
}

#[test]
fn nothing_is_taken_from_a_link_in_place_of_the_project() {
    let job = Job::new();
    let elsewhere = job.place.path().join("elsewhere");
    fs::create_dir_all(&elsewhere).expect("made");
    fs::write(elsewhere.join("passwd"), "root").expect("written");
    for broken in [job.dirs.project.clone(), job.dirs.project.parent().expect("a parent").to_owned()] {
        fs::create_dir_all(&job.dirs.project).expect("made");
        fs::rename(&broken, job.place.path().join("away")).expect("moved");
        fs::create_dir_all(elsewhere.join("project")).expect("made");
        symlink(&elsewhere, &broken).expect("linked");
        for ops in [up(artifact(&["*"])), vec![Op::SaveCache(cache(&["*"]))]] {
            let (code, log) = job.run(ops);
            assert_ne!(code, 0, "{log}");
            assert!(log.contains("No files are taken from there"), "{log}");
        }
        fs::remove_file(&broken).expect("removed");
        fs::remove_dir_all(job.place.path().join("away")).expect("removed");
    }
    assert!(!job.place.path().join("artifacts").exists() && !job.place.path().join("cache").exists());
}
