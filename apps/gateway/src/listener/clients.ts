import type { Socket } from 'node:net';
import { networkOf } from '@sluice/identity';
import { type ConnectionPeer, type Handshake, MemoryAccount, SharedMemory } from '@sluice/wire';

export interface ClientBounds {
  /** Connections of all clients together, and of one address: an IPv4 address, or the /64 network of an IPv6 one. */
  readonly connections: number;
  readonly connectionsPerAddress: number;
  /** Octets held for all clients together, for one address, and for one connection. */
  readonly memory: number;
  readonly memoryPerAddress: number;
  readonly memoryPerConnection: number;
  /** How long somebody waits for memory before going without, in milliseconds. */
  readonly memoryWaitMs: number;
}

/** One connection of a client. What it is doing is known once its protocol is. */
export interface ClientConnection extends ConnectionPeer {
  certificateSubject: string | undefined;
  handshake: Handshake | undefined;
  /** It is counted no longer: what it was taken for turned out otherwise, or it is closed. */
  leave(): void;
  /** Nothing of a request is under way. */
  idle(): boolean;
  /** Ends a connection that is idle. */
  closeIdle(): void;
  /** Ends the connection whatever it is doing. */
  shed(): void;
}

interface Address {
  readonly key: string;
  readonly account: MemoryAccount;
  readonly connections: Set<ClientConnection>;
  /** Calls whose bodies are collected for the address behind a proxy. */
  calls: number;
}

/**
 * Who is connected, by address, so that no address can have everything. Where something is short, who has most gives way: an idle
 * connection of the greediest address, or, when memory is, its connection that holds most.
 *
 * A trusted proxy stands for many clients: its connections and their memory are bounded with all others together, and what is held
 * for a request counts for the address that the proxy names.
 */
export class Clients {
  readonly memory: SharedMemory;
  /** How often something was refused or ended for want of room so far. */
  readonly counters = { connections: 0, address_connections: 0, shed_idle: 0, memory_exhausted: 0 };
  private readonly addresses = new Map<string, Address>();
  private readonly proxies = new Set<ClientConnection>();
  private open = 0;

  constructor(private readonly bounds: ClientBounds) {
    this.memory = new SharedMemory(bounds.memory, bounds.memoryWaitMs);
  }

  /** A connection has come. @returns undefined when there is no room for it: it is to be closed */
  connected(socket: Socket, address: string, isProxy: boolean): ClientConnection | undefined {
    const from = isProxy ? undefined : this.address(address);
    if (!this.makeRoom(from)) {
      if (from !== undefined) this.leave(from);
      return undefined;
    }
    const { memory, bounds } = this;
    const among = from?.connections ?? this.proxies;
    const limit = from === undefined ? Infinity : bounds.memoryPerConnection;
    const account = new MemoryAccount(limit, from?.account ?? memory);
    const client: ClientConnection = {
      address,
      account,
      shared: isProxy,
      certificateSubject: undefined,
      handshake: undefined,
      idle: () => true,
      closeIdle: () => socket.destroy(),
      shed: () => socket.destroy(),
      leave: () => this.gone(client, among, from),
    };
    // A proxy's connection carries the calls of many, who have no part in what one of them does.
    if (from !== undefined) account.shed = () => client.shed();
    among.add(client);
    this.open++;
    socket.once('close', client.leave);
    return client;
  }

  private gone(client: ClientConnection, among: Set<ClientConnection>, from: Address | undefined): void {
    client.account.close();
    if (among.delete(client)) this.open--;
    if (from !== undefined) this.leave(from);
  }

  private makeRoom(from: Address | undefined): boolean {
    const { bounds, counters } = this;
    if (from !== undefined && from.connections.size >= bounds.connectionsPerAddress && !this.shedIdle(from)) {
      counters.address_connections++;
      return false;
    }
    if (this.open < bounds.connections) return true;
    const greediest = this.greediest();
    const own = from?.connections.size ?? 0;
    if (greediest !== undefined && greediest.connections.size > own && this.shedIdle(greediest)) return true;
    counters.connections++;
    return false;
  }

  private greediest(): Address | undefined {
    let most: Address | undefined;
    for (const address of this.addresses.values()) {
      if (most === undefined || address.connections.size > most.connections.size) most = address;
    }
    return most;
  }

  /** Ends the connection of an address that has been open longest of those on which nothing happens. */
  private shedIdle(address: Address): boolean {
    for (const client of address.connections) {
      if (!client.idle()) continue;
      address.connections.delete(client);
      this.open--;
      this.counters.shed_idle++;
      client.closeIdle();
      return true;
    }
    return false;
  }

  /** An account for what is held for one call, which ends with {@link closeCall}; the connection's unless a proxy names the client. */
  accountOfCall(peer: ConnectionPeer, clientAddress: string): MemoryAccount {
    if (!peer.shared || clientAddress === peer.address) return peer.account;
    const address = this.address(clientAddress);
    address.calls++;
    return new MemoryAccount(this.bounds.memoryPerConnection, address.account);
  }

  closeCall(account: MemoryAccount, peer: ConnectionPeer, clientAddress: string): void {
    if (account === peer.account) return;
    account.close();
    const address = this.address(clientAddress);
    address.calls--;
    this.leave(address);
  }

  private address(text: string): Address {
    const key = networkOf(text);
    let address = this.addresses.get(key);
    if (address === undefined) {
      const account = new MemoryAccount(this.bounds.memoryPerAddress, this.memory);
      this.addresses.set(key, (address = { key, account, connections: new Set(), calls: 0 }));
    }
    return address;
  }

  private leave(address: Address): void {
    if (address.connections.size > 0 || address.calls > 0 || address.account.below.size > 0) return;
    address.account.close();
    if (this.addresses.get(address.key) === address) this.addresses.delete(address.key);
  }
}
