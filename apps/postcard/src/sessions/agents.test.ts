import { describe, expect, it } from 'vitest';
import { Agents } from './agents.js';

const turn = (question: string) => ({ question, answer: `${question}!` });

function agentsWith(max: number, stored: readonly string[] = []) {
  const restored: string[] = [];
  const agents = new Agents(max, 3, async (id) => {
    restored.push(id);
    return stored.map(turn);
  });
  return { agents, restored };
}

describe('Agents', () => {
  it('remembers what was said, the last turns only', async () => {
    const { agents, restored } = agentsWith(10);
    await agents.get('a', 0);
    for (const [index, text] of ['1', '2', '3', '4'].entries()) agents.learn('a', index + 1, turn(text));
    const { turns } = await agents.get('a', 4);
    expect(turns.map(({ question }) => question)).toEqual(['2', '3', '4']);
    expect(restored).toEqual([]);
  });

  it('lets the least recently used go, and restores it when it is asked for again', async () => {
    const { agents, restored } = agentsWith(2, ['old']);
    await agents.get('a', 1);
    await agents.get('b', 1);
    await agents.get('a', 1);
    await agents.get('c', 1);
    expect(agents.size).toBe(2);
    expect(restored).toEqual(['a', 'b', 'c']);
    await agents.get('a', 1);
    expect(restored).toEqual(['a', 'b', 'c']);
    expect((await agents.get('b', 1)).turns).toEqual([turn('old')]);
    expect(restored).toEqual(['a', 'b', 'c', 'b']);
  });

  it('holds no more than its maximum, whatever comes', async () => {
    const { agents } = agentsWith(1000, ['old']);
    for (let session = 0; session < 5000; session++) await agents.get(`s${session % 1500}`, 1);
    expect(agents.size).toBe(1000);
  });

  it('restores an agent when another replica has answered since', async () => {
    const { agents, restored } = agentsWith(2, ['theirs']);
    await agents.get('a', 0);
    agents.learn('a', 1, turn('mine'));
    expect((await agents.get('a', 2)).turns).toEqual([turn('theirs')]);
    expect(restored).toEqual(['a']);
  });

  it('forgets an agent whose turns were saved in an order that it does not know', async () => {
    const { agents } = agentsWith(2, ['stored']);
    await agents.get('a', 0);
    agents.learn('a', 2, turn('second'));
    expect(agents.size).toBe(0);
  });
});
