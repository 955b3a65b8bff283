import { postcardV1 } from '@sluice/contract';
import type { MessageRow, SessionRow } from './sessions/session-store.js';

export function toSession(row: SessionRow, idleSeconds: number): postcardV1.Session {
  return {
    id: row.id,
    title: row.title,
    create_time: toTimestamp(row.create_time.getTime()),
    last_used_time: toTimestamp(row.last_used_time.getTime()),
    expire_time: toTimestamp(row.last_used_time.getTime() + idleSeconds * 1000),
  };
}

export function toMessage(row: MessageRow): postcardV1.Message {
  const role = row.role === 1 ? postcardV1.Message_Role.USER : postcardV1.Message_Role.ASSISTANT;
  return { id: row.id, role, text: row.text, create_time: toTimestamp(row.create_time.getTime()) };
}

function toTimestamp(ms: number): { seconds: string; nanos: number } {
  return { seconds: String(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1e6 };
}
