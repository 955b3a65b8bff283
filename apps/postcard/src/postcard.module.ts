import {
  type DynamicModule,
  Inject,
  Module,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
} from '@nestjs/common';
import { LOGGER } from '@sluice/service';
import { openDatabase } from '@sluice/storage';
import { Gauge, type Logger, METRICS, type Registry } from '@sluice/telemetry';
import { DataSource } from 'typeorm';
import { Budget } from './messages/budget.js';
import { Messages } from './messages/messages.js';
import { migrations } from './migrations/index.js';
import { BuiltInModel } from './model/built-in-model.js';
import type { Model } from './model/model.js';
import { OpenAiModel } from './model/openai-model.js';
import { PostcardController } from './postcard.controller.js';
import { Agents } from './sessions/agents.js';
import { CleanUp } from './sessions/clean-up.js';
import { SessionStore } from './sessions/session-store.js';
import type { PostcardSettings } from './settings.js';

@Module({})
export class PostcardModule implements OnApplicationBootstrap, OnApplicationShutdown {
  constructor(
    @Inject(DataSource) private readonly dataSource: DataSource,
    private readonly cleanUp: CleanUp,
  ) {}

  static with(settings: PostcardSettings): DynamicModule {
    const leaseSeconds = settings.POSTCARD_LEASE_SECONDS;
    const replyTokensMax = settings.MODEL_REPLY_TOKENS;
    return {
      module: PostcardModule,
      controllers: [PostcardController],
      providers: [
        {
          provide: DataSource,
          inject: [LOGGER],
          useFactory: (logger: Logger) => openPostcardDatabase(settings, logger),
        },
        {
          provide: SessionStore,
          inject: [DataSource],
          useFactory: (dataSource: DataSource) => new SessionStore(dataSource, settings.POSTCARD_SESSION_IDLE_SECONDS),
        },
        {
          provide: Agents,
          inject: [SessionStore, METRICS],
          useFactory: (store: SessionStore, metrics: Registry) => agentsOf(store, settings, metrics),
        },
        {
          provide: Budget,
          inject: [LOGGER],
          useFactory: (logger: Logger) =>
            new Budget({
              addresses: settings.ALLOCATOR_ADDRESS,
              secret: settings.ALLOCATOR_SECRET,
              leaseSeconds,
              logger,
            }),
        },
        {
          provide: Messages,
          inject: [SessionStore, Agents, Budget],
          useFactory: (store: SessionStore, agents: Agents, budget: Budget) =>
            new Messages(store, agents, budget, modelOf(settings), { replyTokensMax, leaseMs: leaseSeconds * 1000 }),
        },
        {
          provide: CleanUp,
          inject: [SessionStore, Agents, LOGGER],
          useFactory: (store: SessionStore, agents: Agents, logger: Logger) =>
            new CleanUp(store, agents, logger, settings.POSTCARD_CLEAN_UP_SECONDS * 1000),
        },
      ],
    };
  }

  onApplicationBootstrap(): void {
    this.cleanUp.start();
  }

  /** The last thing: calls in flight have ended by now. */
  async onApplicationShutdown(): Promise<void> {
    await this.cleanUp.stop();
    await this.dataSource.destroy();
  }
}

function openPostcardDatabase(settings: PostcardSettings, logger: Logger): Promise<DataSource> {
  return openDatabase({
    url: settings.POSTCARD_DATABASE_URL,
    schema: 'postcard',
    applicationName: 'sluice-postcard',
    poolSize: settings.DB_POOL_SIZE,
    poolTimeoutMs: settings.DB_POOL_TIMEOUT,
    migrations,
    waitMs: settings.DB_START_WAIT_SECONDS * 1000,
    onWait: (error) => logger.warn({ err: error }, 'waiting for Postgres'),
  });
}

function agentsOf(store: SessionStore, settings: PostcardSettings, metrics: Registry): Agents {
  const { POSTCARD_AGENTS_MAX: agentsMax, POSTCARD_TURNS_REMEMBERED: turnsRemembered } = settings;
  const agents = new Agents(agentsMax, turnsRemembered, (id, turnsMax) => store.lastTurns({}, id, turnsMax));
  new Gauge({
    name: 'postcard_agents',
    help: 'Sessions whose agent is in memory',
    registers: [metrics],
    collect() {
      this.set(agents.size);
    },
  });
  new Gauge({
    name: 'postcard_agents_restored_total',
    help: 'Agents that were restored from Postgres',
    registers: [metrics],
    collect() {
      this.set(agents.restored);
    },
  });
  return agents;
}

function modelOf(settings: PostcardSettings): Model {
  if (settings.MODEL_BASE_URL === undefined) {
    return new BuiltInModel({ seed: settings.MODEL_SEED, tokensPerSecond: settings.MODEL_TOKENS_PER_SECOND });
  }
  return new OpenAiModel({
    baseUrl: settings.MODEL_BASE_URL,
    apiKey: settings.MODEL_API_KEY,
    model: settings.MODEL_NAME,
    stallMs: settings.MODEL_STALL_SECONDS * 1000,
  });
}
