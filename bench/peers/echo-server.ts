/**
 * The gRPC service behind every contestant. It stands on our own server, because that leaves the processor to the gateways:
 * a service that costs more than they do would decide how many calls come at once, and so be what is measured. Prints its port.
 */
import { createServer, type AddressInfo } from 'node:net';
import { GrpcServerCall, Http2Server } from '@sluice/wire';

/** `EchoMessage` with a name, a text of twenty octets and a number. */
const MESSAGE = Buffer.from('\x0a\x08postcard\x12\x14twenty bytes of text\x18\x2a', 'latin1');
const MESSAGE_OCTETS_MAX = 16 * 1024 * 1024;

const server = new Http2Server((stream) => {
  const call = GrpcServerCall.accept(stream, { maxMessageBytes: MESSAGE_OCTETS_MAX });
  if (call) call.events = stream.path.endsWith('/Count') ? new Counting(call) : new Echoing(call);
});

class Echoing {
  private answer: Buffer = Buffer.alloc(0);
  constructor(private readonly call: GrpcServerCall) {}
  onMessage(message: Buffer): void {
    this.answer = message;
  }
  onHalfClose(): void {
    this.call.sendMessage(this.answer);
    this.call.sendStatus(0);
  }
  onCancel(): void {}
}

class Counting {
  private left = 0;
  constructor(private readonly call: GrpcServerCall) {}
  /** `CountRequest`: field 1, a varint. */
  onMessage(message: Buffer): void {
    for (let index = message.length - 1; index > 0; index--) this.left = this.left * 128 + (message[index]! & 0x7f);
  }
  onHalfClose(): void {
    this.onDrain();
  }
  onDrain(): void {
    while (this.left > 0) {
      this.left -= 1;
      if (!this.call.sendMessage(MESSAGE)) return;
    }
    this.call.sendStatus(0);
  }
  onCancel(): void {}
}

const listener = createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  server.accept(socket);
});
listener.listen(0, '127.0.0.1', () => process.send?.((listener.address() as AddressInfo).port));
