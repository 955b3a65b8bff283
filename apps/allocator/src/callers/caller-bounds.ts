import { DataSource } from 'typeorm';
import { lockNodes } from '../nodes/nodes.js';

/**
 * What one caller may hold at most: two numbers in the row of settings, so that every replica goes by the same. While one of them is
 * above 0, `callers` has what each caller holds, kept by the batches.
 */
export class CallerBounds {
  constructor(private readonly dataSource: DataSource) {}

  /** Takes over the settings of the environment. When they begin to bound, what is held now is counted, while no batch runs. */
  seed(tokensMax: bigint, requestsMax: number): Promise<void> {
    return this.dataSource.transaction(async (manager) => {
      const [now] = await manager.query<{ tokens: string; requests: string }[]>(
        `select caller_tokens_max::text as tokens, caller_requests_max::text as requests from settings`,
      );
      const counted = now !== undefined && (now.tokens !== '0' || now.requests !== '0');
      const bounded = tokensMax > 0n || requestsMax > 0;
      if (bounded && !counted) {
        // With every node and the row of settings held, nothing is allocated and nothing ends: in the order of the batches.
        await manager.query(`set local statement_timeout = 0`);
        await lockNodes(manager);
        await manager.query(`select from nodes order by node_id for no key update`);
        await manager.query(`select from settings for no key update`);
        await manager.query(`delete from callers`);
        await manager.query(
          `insert into callers (tenant, subject, tokens, requests)
             select tenant, subject, sum(case state when 1 then token_count else settled end), count(*) filter (where state = 1)
               from allocations where state in (1, 2) group by tenant, subject`,
        );
      }
      await manager.query(`update settings set caller_tokens_max = $1, caller_requests_max = $2`, [
        String(tokensMax),
        requestsMax,
      ]);
    });
  }
}
