import { type DynamicModule, Inject, Module, type OnApplicationShutdown } from '@nestjs/common';
import { LOGGER } from '@sluice/service';
import { openDatabase } from '@sluice/storage';
import { type Logger, METRICS, type Registry } from '@sluice/telemetry';
import { DataSource } from 'typeorm';
import { AllocationList } from './allocations/allocation-list.js';
import { AllocationReader } from './allocations/allocation-reader.js';
import { Allocations } from './allocations/allocations.js';
import { ForcedFree } from './allocations/forced-free.js';
import { Scopes } from './allocations/scope.js';
import { Accounts } from './accounts/accounts.js';
import { Budgets } from './accounts/budgets.js';
import { Limits } from './accounts/limits.js';
import { PeriodsAhead } from './accounts/periods-ahead.js';
import { AllocatorController } from './allocator.controller.js';
import { BudgetController } from './budget.controller.js';
import { batchEvents, overrunCounter, watchQueue } from './batch/batch-metrics.js';
import { installFunctions } from './batch/functions.js';
import { LeaseTicker } from './batch/lease-ticker.js';
import { GroupCommit } from './batch/group-commit.js';
import { PostgresExecutor } from './batch/postgres-executor.js';
import { Statistics } from './batch/statistics.js';
import { RecentRefusals } from './batch/recent-refusals.js';
import { CallerBounds } from './callers/caller-bounds.js';
import { Invariant } from './ledger/invariant.js';
import { Retention } from './ledger/retention.js';
import { migrations } from './migrations/index.js';
import { NodeSeed } from './nodes/node-seed.js';
import { Nodes } from './nodes/nodes.js';
import { UsageWatch } from './nodes/usage-watch.js';
import { SETTINGS, type AllocatorSettings } from './settings.js';
import { StrategySettings } from './strategy/strategy-setting.js';

const SWEEP_MAX = 200;
const OVERLAP_MIN = 64;

@Module({})
export class AllocatorModule implements OnApplicationShutdown {
  constructor(
    @Inject(DataSource) private readonly dataSource: DataSource,
    private readonly groupCommit: GroupCommit,
  ) {}

  static with(settings: AllocatorSettings): DynamicModule {
    return {
      module: AllocatorModule,
      controllers: [AllocatorController, BudgetController],
      providers: [
        { provide: SETTINGS, useValue: settings },
        {
          provide: DataSource,
          inject: [LOGGER],
          useFactory: (logger: Logger) => openSeededDatabase(settings, logger),
        },
        {
          provide: GroupCommit,
          // The data source comes first: its migrations make what the batches use.
          inject: [DataSource, METRICS, LOGGER],
          useFactory: (_: DataSource, metrics: Registry, logger: Logger) => makeGroupCommit(settings, metrics, logger),
        },
        { provide: RecentRefusals, useFactory: () => new RecentRefusals() },
        Accounts,
        Limits,
        Budgets,
        Allocations,
        AllocationReader,
        AllocationList,
        ForcedFree,
        Scopes,
        Nodes,
        UsageWatch,
        StrategySettings,
        LeaseTicker,
        Statistics,
        PeriodsAhead,
        Invariant,
        Retention,
      ],
    };
  }

  /** The last thing: calls in flight have ended by now. */
  async onApplicationShutdown(): Promise<void> {
    await this.groupCommit.close();
    await this.dataSource.destroy();
  }
}

async function openSeededDatabase(settings: AllocatorSettings, logger: Logger): Promise<DataSource> {
  const dataSource = await openDatabase({
    url: settings.ALLOCATOR_DATABASE_URL,
    schema: 'budget',
    applicationName: 'sluice-allocator',
    poolSize: settings.DB_POOL_SIZE,
    poolTimeoutMs: settings.DB_POOL_TIMEOUT,
    migrations,
    waitMs: settings.DB_START_WAIT_SECONDS * 1000,
    onWait: (error) => logger.warn({ err: error }, 'waiting for Postgres'),
  });
  for (const [name, result] of await installFunctions(dataSource)) {
    if (result === 'newer is there')
      logger.warn({ function: name }, 'a newer release has installed this function; it stays');
  }
  await new StrategySettings(dataSource).seed(settings.ALLOC_STRATEGY, settings.LARGE_REQUEST_TOKENS);
  await new NodeSeed(dataSource, logger).seed(settings.NODES, settings.NODE_BUDGET);
  await new CallerBounds(dataSource).seed(settings.ALLOC_CALLER_TOKENS_MAX, settings.ALLOC_CALLER_REQUESTS_MAX);
  return dataSource;
}

function makeGroupCommit(settings: AllocatorSettings, metrics: Registry, logger: Logger): GroupCommit {
  const onOverrun = overrunCounter(metrics);
  const executor = () =>
    new PostgresExecutor({
      url: settings.ALLOCATOR_DATABASE_URL,
      lockTimeoutMs: settings.ALLOC_LOCK_TIMEOUT_MS,
      // A batch may wait behind another, and each of them for a lock.
      answerTimeoutMs: 2 * settings.ALLOC_LOCK_TIMEOUT_MS + 5000,
      sweepMax: SWEEP_MAX,
      overrun: settings.ALLOC_OVERRUN === 'charge',
      onOverrun,
    });
  const limits = {
    batchMax: settings.ALLOC_BATCH_MAX,
    waitingMax: settings.ALLOC_WAITING_MAX,
    queueMsMax: settings.ALLOC_QUEUE_MS,
    overlapMin: OVERLAP_MIN,
  };
  const executors = { prompt: executor(), patient: executor() };
  const groupCommit = new GroupCommit(executors, limits, batchEvents(metrics, logger));
  watchQueue(metrics, groupCommit);
  return groupCommit;
}
