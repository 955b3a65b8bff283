import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { postcardV1 } from '@sluice/contract';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PostcardSystem } from './system.fixture.js';

let system: PostcardSystem;
let provider: Server;
/** Whether the next reply of the provider breaks off, or never goes on. */
let next: 'complete' | 'broken' | 'endless' = 'complete';

const piece = (text: string) => `data: ${JSON.stringify({ choices: [{ delta: { content: text } }] })}\n\n`;

beforeAll(async () => {
  provider = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(piece('Wish ') + piece('you '));
    if (next === 'complete') response.end(`${piece('were here.')}data: [DONE]\n\n`);
    if (next === 'broken') response.destroy();
  });
  await new Promise<void>((resolve) => provider.listen(0, '127.0.0.1', resolve));
  const baseUrl = `http://127.0.0.1:${(provider.address() as AddressInfo).port}/v1`;
  system = await PostcardSystem.start({ MODEL_BASE_URL: baseUrl, POSTCARD_AGENTS_MAX: '3' });
});

afterAll(async () => {
  await system.stop();
  provider.closeAllConnections();
  provider.close();
});

beforeEach(() => {
  next = 'complete';
  system.allocator.capacity = Number.POSITIVE_INFINITY;
});

const settledLast = () => [...system.allocator.settled.values()].at(-1);

describe('sessions', () => {
  it('are created, read and deleted by their owner, and do not exist for anybody else', async () => {
    const { id } = await system.call<postcardV1.Session>('CreateSession', { title: 'Lisbon' });
    expect(await system.call('GetSession', { session_id: id })).toMatchObject({ id, title: 'Lisbon' });
    for (const [subject, tenant] of [
      ['bob', 't1'],
      ['alice', 't2'],
    ] as const) {
      for (const method of ['GetSession', 'ListMessages', 'DeleteSession']) {
        await expect(system.call(method, { session_id: id }, subject, tenant)).rejects.toMatchObject({
          code: 'NOT_FOUND',
        });
      }
    }
    expect((await system.send(id, 'hello', 'bob')).problem).toMatchObject({ code: 'NOT_FOUND' });
    await system.call('DeleteSession', { session_id: id });
    await expect(system.call('GetSession', { session_id: id })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it.each(['', 'x', "'; drop table sessions; --", 'é'.repeat(5000)])(
    'with the id %j is not found',
    async (session_id) => {
      await expect(system.call('GetSession', { session_id })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    },
  );

  it('refuse text that is too long, empty or with NUL', async () => {
    const { id } = await system.open();
    for (const text of ['', 'x'.repeat(8001), 'a\0b']) {
      expect((await system.send(id, text)).problem).toMatchObject({ code: 'INVALID_ARGUMENT' });
    }
    expect((await system.send(id, '😀'.repeat(8000))).problem).toBeUndefined();
  });

  it('need somebody who is signed in', async () => {
    await expect(system.call('CreateSession', {}, '')).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  });
});

describe('a message', () => {
  it('is answered piece by piece, saved, and paid for', async () => {
    const { id } = await system.open();
    const reply = await system.send(id, 'hello');
    expect(reply.problem).toBeUndefined();
    expect(reply.text).toBe('Wish you were here.');
    // 2 tokens for the question, one for each of 3 pieces; 64 reserved for the reply.
    expect(reply.receipt).toMatchObject({ tokens_reserved: '66', tokens_used: '5' });
    expect(settledLast()).toBe(5);
    expect(system.allocator.held.size).toBe(0);
    const { messages } = await system.call<postcardV1.ListMessagesResponse>('ListMessages', { session_id: id });
    expect(messages.map(({ role, text }) => [role, text])).toEqual([
      ['USER', 'hello'],
      ['ASSISTANT', 'Wish you were here.'],
    ]);
    expect(messages[1]!.id).toBe(reply.receipt!.message_id);
  });

  it('is paid for by its caller', async () => {
    const { id } = await system.open('carol');
    await system.send(id, 'hello', 'carol');
    const { metadata, request } = system.allocator.calls.findLast(({ method }) => method === 'Allocate')!;
    expect(metadata.get('x-sluice-subject')).toEqual(['carol']);
    expect(metadata.get('x-sluice-tenant')).toEqual(['t1']);
    expect(metadata.get('traceparent')[0]).toMatch(/^00-[0-9a-f]{32}-/);
    expect(request).toMatchObject({ ttl_seconds: '300' });
  });

  it('is refused with what blocked it and the wait when the budget is spent; nothing is saved', async () => {
    const { id } = await system.open();
    system.allocator.capacity = 10;
    const { problem } = await system.send(id, 'hello');
    expect(problem).toMatchObject({
      code: 'BUDGET_EXHAUSTED',
      status: 429,
      details: { blocked_by: 'budget', retry_after_ms: 1500 },
    });
    system.allocator.retryAfterMs = undefined;
    expect((await system.send(id, 'hello')).problem?.details).toEqual({ blocked_by: 'budget', retry_after_ms: 30_000 });
    const { messages } = await system.call<postcardV1.ListMessagesResponse>('ListMessages', { session_id: id });
    expect(messages).toEqual([]);
  });

  it('whose model fails in the middle says so, and pays for what was written', async () => {
    const { id } = await system.open();
    next = 'broken';
    const reply = await system.send(id, 'hello');
    expect(reply.problem).toMatchObject({ code: 'UNAVAILABLE' });
    expect(reply.receipt).toBeUndefined();
    await expect.poll(() => system.allocator.held.size).toBe(0);
  });

  it('whose client leaves holds no budget', async () => {
    const { id } = await system.open();
    next = 'endless';
    const calls = system.allocator.calls.length;
    const stream = system.stream(id, 'hello').on('error', () => undefined);
    await new Promise((resolve) => stream.once('data', resolve));
    expect(system.allocator.held.size).toBe(1);
    stream.cancel();
    await expect.poll(() => system.allocator.held.size).toBe(0);
    expect(system.allocator.calls.length).toBe(calls + 2);
  });

  it('whose deadline passes holds no budget', async () => {
    const { id } = await system.open();
    next = 'endless';
    const stream = system.stream(id, 'hello', 'alice', { deadline: Date.now() + 300 });
    const code = await new Promise((resolve) =>
      stream.on('data', () => undefined).on('error', (error) => resolve((error as { code?: number }).code)),
    );
    expect(code).toBe(4);
    await expect.poll(() => system.allocator.held.size).toBe(0);
  });

  it('is settled although the allocator fails twice meanwhile', async () => {
    const { id } = await system.open();
    system.allocator.failNext.set('Settle', 2);
    expect((await system.send(id, 'hello')).receipt).toMatchObject({ tokens_used: '5' });
    expect(system.allocator.held.size).toBe(0);
  });

  it('fails when the allocator does, and what it may have reserved is freed', async () => {
    const { id } = await system.open();
    system.allocator.failNext.set('Allocate', 1);
    expect((await system.send(id, 'hello')).problem).toMatchObject({ code: 'UNAVAILABLE' });
    await expect.poll(() => system.allocator.calls.at(-1)!.method).toBe('Free');
  });

  it('to one session, twenty at once: each is saved whole, question beside answer', async () => {
    const { id } = await system.open();
    const texts = Array.from({ length: 20 }, (_, index) => `message ${index}`);
    const replies = await Promise.all(texts.map((text) => system.send(id, text)));
    expect(replies.every(({ problem }) => problem === undefined)).toBe(true);
    const { messages } = await system.call<postcardV1.ListMessagesResponse>('ListMessages', { session_id: id });
    expect(messages.map(({ role }) => role)).toEqual(texts.flatMap(() => ['USER', 'ASSISTANT']));
    expect(new Set(messages.map(({ text }) => text)).size).toBe(21);
  });
});

describe('the history', () => {
  it('comes in pages', async () => {
    const { id } = await system.open();
    for (const text of ['1', '2', '3']) await system.send(id, text);
    const questions: string[] = [];
    let page_token = '';
    do {
      const page = await system.call<postcardV1.ListMessagesResponse>('ListMessages', {
        session_id: id,
        page_size: 2,
        page_token,
      });
      questions.push(page.messages[0]!.text);
      page_token = page.next_page_token;
    } while (page_token !== '');
    expect(questions).toEqual(['1', '2', '3']);
    const wrong = system.call('ListMessages', { session_id: id, page_token: 'x' });
    await expect(wrong).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('is known to an agent that had to leave memory, and after a restart', async () => {
    const { id } = await system.open();
    await system.send(id, 'abcd');
    const reserved = async () => (await system.send(id, 'abcd')).receipt!.tokens_reserved;
    // The question again, and before it a question of 1 token and an answer of 5.
    expect(await reserved()).toBe('71');
    for (let other = 0; other < 5; other++) await system.send((await system.open()).id, 'x');
    expect(await reserved()).toBe('77');
    await system.restart();
    expect(await reserved()).toBe('83');
  });
});

describe('a session that was idle for an hour', () => {
  it('has ended, and is deleted by the next clean-up, which leaves the others alone', async () => {
    const { id: old } = await system.open();
    await system.send(old, 'hello');
    const { id: young } = await system.open();
    await system.sql(`update sessions set last_used_time = clock_timestamp() - interval '3600 seconds' where id = $1`, [
      old,
    ]);
    await system.sql(`update sessions set last_used_time = clock_timestamp() - interval '3500 seconds' where id = $1`, [
      young,
    ]);
    await expect(system.call('GetSession', { session_id: old })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect((await system.send(old, 'hello')).problem).toMatchObject({ code: 'NOT_FOUND' });
    expect(await system.sql('select from messages where session_id = $1', [old])).toHaveLength(2);
    await system.restart({ POSTCARD_CLEAN_UP_SECONDS: '1' });
    await expect
      .poll(() => system.sql('select from sessions where id = $1', [old]), { timeout: 10_000 })
      .toHaveLength(0);
    expect(await system.sql('select from messages where session_id = $1', [old])).toHaveLength(0);
    expect(await system.call('GetSession', { session_id: young })).toMatchObject({ id: young });
  });

  it('is deleted in batches, and rows that another replica deletes are passed over', async () => {
    await system.sql(`insert into sessions (id, tenant, subject, title, last_used_time)
      select gen_random_uuid(), 't1', 'many', '', clock_timestamp() - interval '2 hours' from generate_series(1, 1200)`);
    await expect
      .poll(() => system.sql(`select from sessions where subject = 'many'`), { timeout: 10_000 })
      .toHaveLength(0);
  });
});
