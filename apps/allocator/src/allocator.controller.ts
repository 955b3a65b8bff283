import { Controller, Inject } from '@nestjs/common';
import { allocatorV1 } from '@sluice/contract';
import { Problem } from '@sluice/problem';
import { currentCall, currentCaller } from '@sluice/service';
import { map, type Observable } from 'rxjs';
import { AllocationList } from './allocations/allocation-list.js';
import { AllocationReader } from './allocations/allocation-reader.js';
import { Allocations } from './allocations/allocations.js';
import { allocateAll } from './allocations/batch-allocation.js';
import { ForcedFree } from './allocations/forced-free.js';
import {
  readNodeId,
  readOneOf,
  readPool,
  readReason,
  readRest,
  readTokens,
  readWindow,
} from './allocations/reading.js';
import { strategies } from './batch/operation.js';
import { toAllocation, toAllocationPage, toNode, toStrategy, toUsage } from './messages.js';
import { Nodes } from './nodes/nodes.js';
import { UsageWatch } from './nodes/usage-watch.js';
import { type AllocatorSettings, SETTINGS } from './settings.js';
import { StrategySettings } from './strategy/strategy-setting.js';

@Controller()
@allocatorV1.AllocatorServiceControllerMethods()
export class AllocatorController implements allocatorV1.AllocatorServiceController {
  constructor(
    private readonly allocations: Allocations,
    private readonly reader: AllocationReader,
    private readonly list: AllocationList,
    private readonly forcedFree: ForcedFree,
    private readonly nodes: Nodes,
    private readonly usageWatch: UsageWatch,
    private readonly strategySettings: StrategySettings,
    @Inject(SETTINGS) private readonly settings: AllocatorSettings,
  ) {}

  async allocate(request: allocatorV1.AllocateRequest): Promise<allocatorV1.Allocation> {
    const call = currentCall();
    const caller = currentCaller();
    this.allocations.requireAllowed(call, caller);
    return toAllocation(await this.allocations.allocate(call, caller, request));
  }

  batchAllocate(request: allocatorV1.BatchAllocateRequest): Promise<allocatorV1.BatchAllocateResponse> {
    const call = currentCall();
    const caller = currentCaller();
    this.allocations.requireAllowed(call, caller);
    return allocateAll(request.requests, (each) => this.allocations.allocate(call, caller, each));
  }

  async settle(request: allocatorV1.SettleRequest): Promise<allocatorV1.Allocation> {
    const { request_id: id, token_count: count, cost_micros: cost } = request;
    return toAllocation(await this.allocations.settle(currentCall(), currentCaller(), id, count, cost));
  }

  async extend(request: allocatorV1.ExtendRequest): Promise<allocatorV1.Allocation> {
    const { request_id: id, ttl_seconds: ttl } = request;
    return toAllocation(await this.allocations.extend(currentCall(), currentCaller(), id, ttl));
  }

  async free(request: allocatorV1.FreeRequest): Promise<allocatorV1.Allocation> {
    return toAllocation(await this.allocations.free(currentCall(), currentCaller(), request.request_id));
  }

  async getAllocation(request: allocatorV1.GetAllocationRequest): Promise<allocatorV1.Allocation> {
    return toAllocation(await this.reader.get(currentCall(), currentCaller(), request.request_id));
  }

  async listAllocations(request: allocatorV1.ListAllocationsRequest): Promise<allocatorV1.ListAllocationsResponse> {
    return toAllocationPage(await this.list.page(currentCall(), currentCaller(), request));
  }

  async forceFree(request: allocatorV1.ForceFreeRequest): Promise<allocatorV1.Allocation> {
    return toAllocation(await this.forcedFree.free(currentCall(), currentCaller(), request));
  }

  async getUsage(): Promise<allocatorV1.Usage> {
    return toUsage(await this.nodes.usage());
  }

  watchUsage(): Observable<allocatorV1.Usage> {
    return this.usageWatch.watch().pipe(map(toUsage));
  }

  async listNodes(): Promise<allocatorV1.ListNodesResponse> {
    this.requireDefaultTenant();
    return { nodes: (await this.nodes.list()).map(toNode) };
  }

  async addNode(request: allocatorV1.AddNodeRequest): Promise<allocatorV1.Node> {
    this.requireDefaultTenant();
    const capacity = readTokens('capacity', request.capacity);
    const pool = readPool(request.pool) ?? 'default';
    const window = readWindow(request.window_limit, request.window_seconds);
    return toNode(await this.nodes.add(currentCall(), readNodeId(request.node_id), capacity, pool, window));
  }

  async resizeNode(request: allocatorV1.ResizeNodeRequest): Promise<allocatorV1.Node> {
    this.requireDefaultTenant();
    const capacity = readTokens('capacity', request.capacity);
    return toNode(await this.nodes.resize(currentCall(), readNodeId(request.node_id), capacity));
  }

  async drainNode(request: allocatorV1.DrainNodeRequest): Promise<allocatorV1.Node> {
    this.requireDefaultTenant();
    return toNode(await this.nodes.setState(currentCall(), readNodeId(request.node_id), 'draining'));
  }

  async undrainNode(request: allocatorV1.UndrainNodeRequest): Promise<allocatorV1.Node> {
    this.requireDefaultTenant();
    return toNode(await this.nodes.setState(currentCall(), readNodeId(request.node_id), 'active'));
  }

  async setNodeWindow(request: allocatorV1.SetNodeWindowRequest): Promise<allocatorV1.Node> {
    this.requireDefaultTenant();
    const window = readWindow(request.window_limit, request.window_seconds);
    return toNode(await this.nodes.setWindow(currentCall(), readNodeId(request.node_id), window));
  }

  async restNode(request: allocatorV1.RestNodeRequest): Promise<allocatorV1.Node> {
    this.requireDefaultTenant();
    const seconds = readRest(request.seconds);
    const reason = seconds === 0 && request.reason === '' ? '' : readReason(request.reason);
    return toNode(await this.nodes.rest(currentCall(), readNodeId(request.node_id), seconds, reason));
  }

  async removeNode(request: allocatorV1.RemoveNodeRequest): Promise<allocatorV1.Node> {
    this.requireDefaultTenant();
    return toNode(await this.nodes.remove(currentCall(), readNodeId(request.node_id)));
  }

  async renameNode(request: allocatorV1.RenameNodeRequest): Promise<allocatorV1.Node> {
    this.requireDefaultTenant();
    const to = readNodeId(request.new_node_id, 'new_node_id');
    return toNode(await this.nodes.rename(currentCall(), readNodeId(request.node_id), to));
  }

  async getStrategy(): Promise<allocatorV1.StrategySetting> {
    return toStrategy(await this.strategySettings.get());
  }

  async setStrategy(request: allocatorV1.SetStrategyRequest): Promise<allocatorV1.StrategySetting> {
    this.requireDefaultTenant();
    return toStrategy(await this.strategySettings.set(readOneOf('strategy', strategies, request.strategy)));
  }

  /** @throws Problem PERMISSION_DENIED: nodes and the strategy serve every tenant, and are not for the administrators of one */
  private requireDefaultTenant(): void {
    const { DEFAULT_TENANT } = this.settings;
    if (currentCaller().tenant === DEFAULT_TENANT) return;
    throw new Problem(
      'PERMISSION_DENIED',
      `Nodes serve all tenants; they are for the administrators of ${DEFAULT_TENANT}.`,
    );
  }
}
