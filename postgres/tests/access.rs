//! Who may in: passwords of all kinds, and encrypted connections.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use arrow_schema::DataType;
use support::{lines, read, read_all, run, schema};
use updraft_dataflow::{Partition, Source};
use updraft_postgres::testing::Cluster;
use updraft_postgres::{ChangeSource, Server, TableName, TableSource};

fn name() -> TableName {
    TableName::parse("public.t").unwrap()
}

/// Reads the table both ways: what is in it, or why it cannot be read.
fn rows(server: &Server, slot: &str) -> Result<Vec<String>, String> {
    let schema = schema(&[("id", DataType::Int64)]);
    let source = ChangeSource::new(server.clone(), name(), schema.clone(), slot).retries(0);
    let told = run(move || async move {
        let mut partition = source.open().unwrap().remove(0);
        let batch = partition.next(9).await.map_err(|error| error.to_string())?;
        // And the stream.
        partition.next(9).await.map_err(|error| error.to_string())?;
        partition.next(9).await.map_err(|error| error.to_string())?;
        Ok::<_, String>(batch.unwrap().records.into_vec())
    })?;
    let read = lines(&read_all(TableSource::new(server.clone(), name(), schema.clone()), &schema));
    let told: Vec<_> = told.iter().flat_map(|rows| lines(rows.batch())).collect();
    assert_eq!(told, read);
    Ok(read)
}

const TABLE: &str =
    "CREATE TABLE t (id bigint PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (7)";

#[test]
fn passwords_open_what_they_should() {
    let access = "host all scram 127.0.0.1/32 scram-sha-256\nhost all hashed 127.0.0.1/32 md5\nhost all plain 127.0.0.1/32 password";
    let cluster = Cluster::with("wal_level = logical\n", Some(access));
    cluster.sql(TABLE);
    for (user, stored) in [("scram", "scram-sha-256"), ("hashed", "md5"), ("plain", "scram-sha-256")] {
        cluster.sql(&format!(
            "SET password_encryption = '{stored}'; CREATE ROLE {user} LOGIN REPLICATION SUPERUSER PASSWORD 'geheim'"
        ));
        let server = Server::new("127.0.0.1", cluster.port(), "postgres").user(user);
        assert_eq!(rows(&server.clone().password("geheim"), user), Ok(vec!["7".to_owned()]));
        let error = rows(&server.clone().password("falsch"), "other").unwrap_err();
        assert!(error.contains("password authentication failed") && !error.contains("falsch"), "{error}");
        let error = rows(&server, "other").unwrap_err();
        assert!(error.contains("password"), "{error}");
    }
    let nobody = Server::new("127.0.0.1", cluster.port(), "postgres");
    let error = read(TableSource::new(nobody, name(), schema(&[("id", DataType::Int64)]))).unwrap_err().to_string();
    assert!(error.contains("add 'username'"), "{error}");
    let nowhere = Server::new("127.0.0.1", 1, "postgres").user("x");
    let error = read(TableSource::new(nowhere, name(), schema(&[("id", DataType::Int64)]))).unwrap_err().to_string();
    assert!(
        error.contains("127.0.0.1:1/postgres: cannot connect") && error.contains("is the server there?"),
        "{error}"
    );
}

#[cfg(feature = "tls")]
#[test]
fn who_is_not_whom_one_trusts_is_refused() {
    use std::process::Command;

    // A certificate that is its own authority, for the server's name.
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("openssl")
        .current_dir(folder.path())
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes"])
        .args(["-keyout", "key", "-out", "cert", "-days", "2", "-subj", "/CN=localhost", "-addext"])
        .args(["subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let cluster = Cluster::with("wal_level = logical\n", Some("hostssl all all 127.0.0.1/32 trust"));
    cluster.sql(TABLE);
    for file in ["cert", "key"] {
        cluster.put(file, &std::fs::read_to_string(folder.path().join(file)).unwrap());
    }
    let at = cluster.path().display();
    cluster.sql(&format!("ALTER SYSTEM SET ssl_cert_file = '{at}/cert'"));
    cluster.sql(&format!("ALTER SYSTEM SET ssl_key_file = '{at}/key'"));
    cluster.sql("ALTER SYSTEM SET ssl = on");
    cluster.stop(true);
    cluster.resume();
    let server = |host: &str| Server::new(host, cluster.port(), "postgres").user("postgres");
    let roots = Some(folder.path().join("cert"));
    assert_eq!(rows(&server("localhost").encrypted(roots.clone()).unwrap(), "a"), Ok(vec!["7".to_owned()]));
    let error = rows(&server("127.0.0.1").encrypted(roots).unwrap(), "b").unwrap_err();
    assert!(error.contains("is its certificate of that name, and trusted?"), "{error}");
    let error = rows(&server("localhost").encrypted(None).unwrap(), "b").unwrap_err();
    assert!(error.contains("is its certificate of that name, and trusted?"), "{error}");
    let error = rows(&server("localhost"), "b").unwrap_err();
    assert!(error.contains("no encryption"), "{error}");
}
