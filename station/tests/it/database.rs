//! The station's database, from beside the station.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The database of a site.
pub enum Database {
    Sqlite(PathBuf),
    /// The URL of PostgreSQL's.
    Postgres(String),
}

/// A connection that may hold a transaction.
pub enum Connection {
    Sqlite(rusqlite::Connection),
    Postgres(tokio::runtime::Runtime, tokio_postgres::Client),
}

impl Database {
    /// Returns a new one of the server that DAU_TEST_DATABASE names (`ci/postgresql`), else the file of
    /// SQLite.
    pub fn for_site(data_dir: &Path) -> Self {
        match std::env::var("DAU_TEST_DATABASE") {
            Ok(server) => Database::new_at(&server),
            Err(_) => Database::Sqlite(data_dir.join("station.db")),
        }
    }

    /// Makes a new one at this server: a schema, which costs less and is as good.
    pub fn new_at(server: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("it_{}_{count}", std::process::id());
        let made = connect(server).run(&format!("CREATE SCHEMA {name}"));
        made.unwrap_or_else(|error| panic!("no database can be made at {server}: {error}"));
        Database::Postgres(format!("{server}&options=-csearch_path%3D{name}"))
    }

    pub fn is_sqlite(&self) -> bool {
        matches!(self, Database::Sqlite(_))
    }

    /// Returns the section of the station's configuration.
    pub fn section(&self) -> String {
        match self {
            Database::Sqlite(_) => String::new(),
            Database::Postgres(url) => format!("[database]\nurl = \"{url}\"\n"),
        }
    }

    pub fn open(&self) -> Connection {
        match self {
            Database::Sqlite(path) => Connection::Sqlite(rusqlite::Connection::open(path).unwrap()),
            Database::Postgres(url) => connect(url),
        }
    }
}

fn connect(url: &str) -> Connection {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (client, connection) = runtime
        .block_on(tokio_postgres::connect(url, tokio_postgres::NoTls))
        .unwrap();
    runtime.spawn(connection);
    Connection::Postgres(runtime, client)
}

impl Connection {
    /// Executes statements.
    pub fn run(&self, sql: &str) -> Result<(), String> {
        match self {
            Connection::Sqlite(sqlite) => sqlite.execute_batch(sql).map_err(|e| e.to_string()),
            Connection::Postgres(runtime, client) => runtime
                .block_on(client.batch_execute(sql))
                .map_err(|error| {
                    error
                        .as_db_error()
                        .map_or(error.to_string(), |e| e.to_string())
                }),
        }
    }

    /// Returns the first column, text, of a query's rows.
    pub fn texts(&self, sql: &str) -> Vec<String> {
        match self {
            Connection::Sqlite(sqlite) => {
                let mut query = sqlite.prepare(sql).unwrap();
                let rows = query.query_map([], |row| row.get(0)).unwrap();
                rows.map(Result::unwrap).collect()
            }
            Connection::Postgres(runtime, client) => {
                let rows = runtime.block_on(client.query(sql, &[])).unwrap();
                rows.iter().map(|row| row.get(0)).collect()
            }
        }
    }

    /// Begins a transaction that keeps others from writing, until ROLLBACK.
    pub fn block_writers(&self) {
        let sql = match self {
            Connection::Sqlite(_) => "BEGIN IMMEDIATE",
            Connection::Postgres(..) => "BEGIN; LOCK TABLE probe, terminals IN EXCLUSIVE MODE",
        };
        self.run(sql).unwrap();
    }
}

/// A server of PostgreSQL of one test, which may kill it.
pub struct Server {
    dir: PathBuf,
    pub url: String,
    /// Holds the small disk, and starts the server for each line that it reads.
    disk: Option<Child>,
}

pub const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ci/postgresql");

impl Server {
    /// Starts one in a folder.
    pub fn start(dir: &Path) -> Self {
        let done = Command::new(SCRIPT).arg("start").arg(dir).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        let url = String::from_utf8(done.stdout).unwrap();
        Server {
            dir: dir.to_owned(),
            url: url.trim().to_owned(),
            disk: None,
        }
    }

    /// Starts it again after a kill, with what it had on disk.
    pub fn start_again(&self) {
        std::mem::forget(Self::start(&self.dir));
    }

    /// Starts one whose data are on a disk of so many bytes, which only it sees.
    pub fn start_on_small_disk(dir: &Path, bytes: u64) -> Self {
        let (unshare, owner) = match nix::unistd::geteuid().is_root() {
            true => (&["--mount"][..], ",uid=nobody,gid=nogroup"),
            false => (&["--map-current-user", "--keep-caps", "--mount"][..], ""),
        };
        let shown = dir.display();
        let shell = format!(
            "mkdir -p {shown}/data && mount -t tmpfs -o mode=0700,size={bytes}{owner} small {shown}/data && \
             while read -r _; do {SCRIPT} start {shown} || echo; done"
        );
        let mut disk = Command::new("unshare")
            .args(unshare)
            .args(["sh", "-c", &shell])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut server = Server {
            dir: dir.to_owned(),
            url: String::new(),
            disk: None,
        };
        writeln!(disk.stdin.as_mut().unwrap()).unwrap();
        let mut said = BufReader::new(disk.stdout.take().unwrap());
        said.read_line(&mut server.url).unwrap();
        server.url = server.url.trim().to_owned();
        // Nobody reads on.
        std::mem::forget(said);
        server.disk = Some(disk);
        assert!(
            server.url.starts_with("postgresql://"),
            "no server on a small disk"
        );
        server
    }

    /// Takes all room of its disk; returns the file that does.
    pub fn fill(&self) -> PathBuf {
        let holder = self.disk.as_ref().unwrap().id();
        let filler = format!("/proc/{holder}/root{}/data/filler", self.dir.display());
        let mut file = std::fs::File::create(&filler).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        PathBuf::from(filler)
    }

    /// Starts the server if the full disk ended it.
    pub fn ensure_started(&mut self) {
        if self.leader().is_none_or(|leader| !is_running(&leader)) {
            writeln!(self.disk.as_mut().unwrap().stdin.as_mut().unwrap()).unwrap();
        }
    }

    /// Returns the process id of the server.
    fn leader(&self) -> Option<String> {
        let root = self
            .disk
            .as_ref()
            .map_or("/".to_owned(), |disk| format!("/proc/{}/root", disk.id()));
        let file = format!("{root}{}/data/postmaster.pid", self.dir.display());
        let text = std::fs::read_to_string(file).ok()?;
        Some(text.lines().next()?.to_owned())
    }

    /// kill -9 of every process of it.
    pub fn kill(&self) {
        let Some(leader) = self.leader() else {
            return;
        };
        let members = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let pid = entry.ok()?.file_name().into_string().ok()?;
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let parent = stat.rsplit(") ").next()?.split(' ').nth(1)?;
            (parent == leader || pid == leader).then_some(pid)
        });
        let members: Vec<String> = members.collect();
        let _ = Command::new("kill").arg("-9").args(&members).status();
        // Its socket and shared memory are taken over by the next one once all are gone.
        crate::site::wait_for("the server's end", || {
            (!members.iter().any(|pid| is_running(pid))).then_some(())
        });
        // A process that is dead but waited for by nobody still counts as the server.
        for name in ["data/postmaster.pid", ".s.PGSQL.5432.lock"] {
            let _ = std::fs::remove_file(self.dir.join(name));
        }
    }
}

/// Tells whether a process is there, and is more than an entry for its parent.
fn is_running(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if let Some(mut disk) = self.disk.take() {
            let _ = disk.kill();
            let _ = disk.wait();
        }
    }
}
