/** The statements of the journal's writer, prepared once. */
import type { DatabaseSync, StatementSync } from "node:sqlite"

export type Statements = { readonly [Name in keyof typeof statements]: StatementSync }
const statements = {
  begin: "BEGIN IMMEDIATE",
  commit: "COMMIT",
  rollback: "ROLLBACK",
  newestPosition: "SELECT coalesce(max(position), 0) AS position FROM appends",
  newestStream: "SELECT coalesce(max(id), 0) AS id FROM streams",
  findScope: "SELECT id FROM scopes WHERE key = ?",
  insertScope: "INSERT INTO scopes(space, key, bucket) VALUES(?, ?, ?) ON CONFLICT(key) DO NOTHING",
  insertStream: "INSERT INTO streams(id, scope_id, local, number, due_at) VALUES(?, ?, ?, ?, ?)",
  findStream: `SELECT s.id FROM stream_names n JOIN streams s ON s.id = n.stream_id JOIN scopes k ON k.id = s.scope_id
    WHERE n.number = ? AND s.local = ? AND k.key = ?`,
  insertName: "INSERT INTO stream_names(number, stream_id) VALUES(?, ?) ON CONFLICT DO NOTHING",
  unindexedStreams: `SELECT s.id, s.number, k.bucket || '/' || k.key || '/' || s.local AS stream FROM streams s JOIN scopes k ON k.id = s.scope_id
    WHERE s.id > coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'namesIndexedTo'), 0)`,
  indexedUpTo: `INSERT INTO meta(name, value) VALUES('namesIndexedTo', CAST(? AS TEXT)) ON CONFLICT(name) DO UPDATE SET value = excluded.value`,
  findHead: `SELECT s.scope_id, s.due_at, s.retired_revision, s.retired_hash, a.revision, a.hash FROM streams s
    LEFT JOIN appends a ON a.stream_id = s.id AND a.revision = (SELECT max(revision) FROM appends WHERE stream_id = s.id)
    WHERE s.id = ?`,
  findAppend: "SELECT position, count, events FROM appends WHERE stream_id = ? AND revision = ?",
  insertAppend: `INSERT INTO appends(position, stream_id, revision, count, at, checksum, key_version, hash, contents, origin, events, sealed)
    VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  insertType: "INSERT INTO event_types(type, version) VALUES(?, ?) ON CONFLICT DO NOTHING",
  setWork: "UPDATE streams SET due_at = ? WHERE id = ?",
  saveSnapshot: `INSERT INTO snapshots(stream_id, version, revision, key_version, sealed) VALUES(?, ?, ?, ?, ?)
    ON CONFLICT(stream_id) DO UPDATE SET
      version = excluded.version, revision = excluded.revision, key_version = excluded.key_version, sealed = excluded.sealed
    WHERE excluded.version > version OR (excluded.version = version AND excluded.revision > revision)`,
  retireStream: "UPDATE streams SET retired_revision = ?, retired_hash = ? WHERE id = ?",
  deleteAppends: "DELETE FROM appends WHERE stream_id = ?",
  deleteSnapshot: "DELETE FROM snapshots WHERE stream_id = ?"
}
export const prepareStatements = (db: DatabaseSync): Statements =>
  Object.fromEntries(Object.entries(statements).map(([name, sql]) => [name, db.prepare(sql)])) as Statements
