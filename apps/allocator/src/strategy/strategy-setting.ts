import { Inject, Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { strategies, type Strategy } from '../batch/operation.js';

export interface StrategySetting {
  readonly strategy: Strategy;
  /** Decimal text of an int64. */
  readonly largeRequestTokens: string;
}

interface Row {
  readonly strategy: number;
  readonly largeRequestTokens: string;
}

const columns = `strategy::int, large_request_tokens::text as "largeRequestTokens"`;
const numberOf = (strategy: Strategy) => strategies.indexOf(strategy) + 1;

/** How nodes are chosen: one row that every batch reads once, so that replicas agree and no batch follows two strategies. */
@Injectable()
export class StrategySettings {
  constructor(@Inject(DataSource) private readonly dataSource: DataSource) {}

  async get(): Promise<StrategySetting> {
    return toSetting(await this.dataSource.query(`select ${columns} from settings`));
  }

  async set(strategy: Strategy): Promise<StrategySetting> {
    const [rows] = await this.dataSource.query(`update settings set strategy = $1 returning ${columns}`, [
      numberOf(strategy),
    ]);
    return toSetting(rows);
  }

  /** Takes over the settings of the environment; the strategy only where it differs from what the environment said before. */
  async seed(strategy: Strategy, largeRequestTokens: bigint): Promise<void> {
    await this.dataSource.query(
      `insert into settings as s (strategy, configured_strategy, large_request_tokens) values ($1, $1, $2)
         on conflict (only_row) do update set
           strategy = case when s.configured_strategy = $1 then s.strategy else $1 end,
           configured_strategy = $1,
           large_request_tokens = $2`,
      [numberOf(strategy), String(largeRequestTokens)],
    );
  }
}

function toSetting(rows: Row[]): StrategySetting {
  const row = rows[0];
  if (!row) throw new Error('the row of settings is missing');
  return { strategy: strategies[row.strategy - 1] as Strategy, largeRequestTokens: row.largeRequestTokens };
}
