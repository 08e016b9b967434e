/** The statements of the journal's writer, prepared once. */
import type { DatabaseSync, StatementSync } from "node:sqlite"

export type Statements = { readonly [Name in keyof typeof statements]: StatementSync }
const statements = {
  begin: "BEGIN IMMEDIATE",
  commit: "COMMIT",
  rollback: "ROLLBACK",
  newestPosition: "SELECT coalesce(max(position), 0) AS position FROM events",
  newestStream: "SELECT coalesce(max(id), 0) AS id FROM streams",
  findScope: "SELECT id FROM scopes WHERE key = ?",
  insertScope: "INSERT INTO scopes(space, key, bucket) VALUES(?, ?, ?) ON CONFLICT(key) DO NOTHING",
  insertStream: "INSERT INTO streams(id, scope_id, local) VALUES(?, ?, ?) ON CONFLICT(scope_id, local) DO NOTHING",
  findHead: `SELECT s.id, s.retired_revision, s.retired_hash, e.revision, e.hash, w.due_at FROM streams s
    LEFT JOIN events e ON e.stream_id = s.id AND e.revision = (SELECT max(revision) FROM events WHERE stream_id = s.id)
    LEFT JOIN open_work w ON w.stream_id = s.id
    WHERE s.scope_id = ? AND s.local = ?`,
  idsBetween: "SELECT id, position FROM events WHERE stream_id = ? AND revision BETWEEN ? AND ? ORDER BY revision",
  insertEvent: `INSERT INTO events(position, stream_id, revision, type_id, at, id, hash, checksum, contents, origin, data)
    VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  insertPayload: "INSERT INTO payloads(id, key_version, sealed) VALUES(?, ?, ?)",
  insertType: "INSERT INTO event_types(type, version) VALUES(?, ?) ON CONFLICT DO NOTHING",
  findType: "SELECT id FROM event_types WHERE type = ? AND version = ?",
  setWork: `INSERT INTO open_work(stream_id, scope_id, due_at) VALUES(?, ?, ?)
    ON CONFLICT(stream_id) DO UPDATE SET due_at = excluded.due_at`,
  deleteWork: "DELETE FROM open_work WHERE stream_id = ?",
  saveSnapshot: `INSERT INTO snapshots(stream_id, version, revision, key_version, sealed) VALUES(?, ?, ?, ?, ?)
    ON CONFLICT(stream_id) DO UPDATE SET
      version = excluded.version, revision = excluded.revision, key_version = excluded.key_version, sealed = excluded.sealed
    WHERE excluded.version > version OR (excluded.version = version AND excluded.revision > revision)`,
  retireStream: "UPDATE streams SET retired_revision = ?, retired_hash = ? WHERE id = ?",
  deleteEvents: "DELETE FROM events WHERE stream_id = ?",
  positionsWithContents: "SELECT position FROM events WHERE stream_id = ? AND contents IS NOT NULL",
  deletePayloads: "DELETE FROM payloads WHERE id >= ? AND id < ?",
  deleteSnapshot: "DELETE FROM snapshots WHERE stream_id = ?"
}
export const prepareStatements = (db: DatabaseSync): Statements =>
  Object.fromEntries(Object.entries(statements).map(([name, sql]) => [name, db.prepare(sql)])) as Statements
