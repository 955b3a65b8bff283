import { Injectable } from '@nestjs/common';
import { execute, statement, type Caller as Waiting } from '@sluice/storage';
import { DataSource } from 'typeorm';
import type { Turn } from '../model/model.js';

/** Whose a session is. */
export interface Owner {
  readonly tenant: string;
  readonly subject: string;
}

export interface SessionRow {
  readonly id: string;
  readonly title: string;
  readonly turns: number;
  readonly create_time: Date;
  readonly last_used_time: Date;
}

export interface MessageRow {
  readonly id: string;
  readonly role: number;
  readonly text: string;
  readonly create_time: Date;
}

const columns = 'id, title, turns, create_time, last_used_time';
const ofOwner = `id = $1 and tenant = $2 and subject = $3 and last_used_time > clock_timestamp() - make_interval(secs => $4)`;

const insertSession = statement<SessionRow>(
  'postcard_insert_session',
  `insert into sessions (id, tenant, subject, title) values ($1, $2, $3, $4) returning ${columns}`,
);
const findSession = statement<SessionRow>('postcard_find_session', `select ${columns} from sessions where ${ofOwner}`);
const touchSession = statement<SessionRow>(
  'postcard_touch_session',
  `update sessions set last_used_time = clock_timestamp() where ${ofOwner} returning ${columns}`,
);
const deleteSession = statement<{ id: string }>(
  'postcard_delete_session',
  `delete from sessions where ${ofOwner} returning id`,
);
const selectMessages = statement<MessageRow>(
  'postcard_select_messages',
  `select id, role, text, create_time from messages where session_id = $1 and id > $2 order by id limit $3`,
);
const selectLastTurns = statement<{ role: number; text: string }>(
  'postcard_select_last_turns',
  `select role, text from (
     select id, role, text from messages where session_id = $1 order by id desc limit $2
   ) last order by id`,
);
/** One statement, so that a turn is saved whole or not at all; nothing when the session was deleted meanwhile. */
const insertTurn = statement<{ turns: number; message_id: string }>(
  'postcard_insert_turn',
  `with session as (
     update sessions set turns = turns + 1, last_used_time = clock_timestamp() where id = $1 returning id, turns
   ), saved as (
     insert into messages (session_id, role, text)
     select session.id, part.role, part.text
     from session, (values (1, $2::text), (2, $3::text)) as part (role, text) order by part.role
     returning id, role
   )
   select session.turns, saved.id as message_id from session, saved where saved.role = 2`,
);
const deleteExpired = statement<{ id: string }>(
  'postcard_delete_expired',
  `delete from sessions where id in (
     select id from sessions where last_used_time <= clock_timestamp() - make_interval(secs => $1)
     order by last_used_time limit $2 for update skip locked
   ) returning id`,
);

const EXPIRED_BATCH = 500;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** Sessions and their messages in Postgres. A session that was idle too long is gone, whether it was deleted yet or not. */
@Injectable()
export class SessionStore {
  constructor(
    private readonly dataSource: DataSource,
    readonly idleSeconds: number,
  ) {}

  async create(waiting: Waiting, owner: Owner, id: string, title: string): Promise<SessionRow> {
    const [row] = await execute(this.dataSource, waiting, insertSession, [id, owner.tenant, owner.subject, title]);
    return row!;
  }

  find(waiting: Waiting, owner: Owner, id: string): Promise<SessionRow | undefined> {
    return this.one(waiting, findSession, owner, id);
  }

  /** As {@link find}; the session's idle time begins anew. */
  touch(waiting: Waiting, owner: Owner, id: string): Promise<SessionRow | undefined> {
    return this.one(waiting, touchSession, owner, id);
  }

  async delete(waiting: Waiting, owner: Owner, id: string): Promise<boolean> {
    return (await this.one(waiting, deleteSession, owner, id)) !== undefined;
  }

  messages(waiting: Waiting, id: string, afterId: string, limit: number): Promise<MessageRow[]> {
    return execute(this.dataSource, waiting, selectMessages, [id, afterId, limit]);
  }

  async lastTurns(waiting: Waiting, id: string, count: number): Promise<Turn[]> {
    const rows = await execute(this.dataSource, waiting, selectLastTurns, [id, count * 2]);
    const turns: Turn[] = [];
    for (let at = 0; at + 1 < rows.length; at += 2)
      turns.push({ question: rows[at]!.text, answer: rows[at + 1]!.text });
    return turns;
  }

  /** Saves a question with its answer. @returns undefined when the session was deleted meanwhile */
  async addTurn(waiting: Waiting, id: string, turn: Turn): Promise<{ turns: number; messageId: string } | undefined> {
    const [row] = await execute(this.dataSource, waiting, insertTurn, [id, turn.question, turn.answer]);
    return row && { turns: row.turns, messageId: row.message_id };
  }

  /** Deletes sessions that were idle too long, a batch at a time; those that another replica deletes are left to it. */
  async *deleteExpired(): AsyncGenerator<readonly string[]> {
    for (;;) {
      const rows = await execute(this.dataSource, {}, deleteExpired, [this.idleSeconds, EXPIRED_BATCH]);
      if (rows.length > 0) yield rows.map(({ id }) => id);
      if (rows.length < EXPIRED_BATCH) return;
    }
  }

  private async one<Row>(
    waiting: Waiting,
    found: { name: string; text: string; row?: Row },
    owner: Owner,
    id: string,
  ): Promise<Row | undefined> {
    if (!UUID.test(id)) return undefined;
    const values = [id, owner.tenant, owner.subject, this.idleSeconds];
    const [row] = await execute<Row>(this.dataSource, waiting, found, values);
    return row;
  }
}
