import type { AddressInfo } from 'node:net';
import { SMTPServer } from 'smtp-server';
import { vi } from 'vitest';

/** A mail as a real SMTP server took it. */
export interface ReceivedMail {
  readonly to: string;
  readonly subject: string;
  readonly text: string;
  /** The token of its link; empty without one. */
  readonly token: string;
  readonly source: string;
}

/** An SMTP server on loopback that keeps what it is sent. */
export class Mailbox {
  readonly received: ReceivedMail[] = [];
  /** Called before a mail is taken; what it throws is the server's answer. */
  beforeTaking: (to: string) => Promise<void> | void = () => undefined;

  private constructor(
    private readonly server: SMTPServer,
    readonly url: string,
  ) {}

  static async start(): Promise<Mailbox> {
    let box: Mailbox | undefined;
    const server = new SMTPServer({
      authOptional: true,
      disabledCommands: ['STARTTLS'],
      logger: false,
      onData(stream, session, done) {
        const parts: Buffer[] = [];
        stream.on('data', (part: Buffer) => parts.push(part));
        stream.on(
          'end',
          () => void box!.take(session.envelope.rcptTo[0]!.address, Buffer.concat(parts)).then(() => done(), done),
        );
      },
    });
    server.on('error', () => undefined);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.server.address() as AddressInfo;
    box = new Mailbox(server, `smtp://127.0.0.1:${port}`);
    return box;
  }

  /** Waits for the next mail to an address that was not waited for before. */
  next(to: string): Promise<ReceivedMail> {
    return vi.waitFor(
      () => {
        const at = this.received.findIndex((mail) => mail.to === to);
        if (at < 0)
          throw new Error(
            `no mail to ${to}; there are: ${this.received.map((mail) => `${mail.to} ${mail.subject}`).join(', ')}`,
          );
        return this.received.splice(at, 1)[0]!;
      },
      { timeout: 30_000, interval: 20 },
    );
  }

  stop(): Promise<void> {
    return new Promise((resolve) => this.server.close(() => resolve()));
  }

  private async take(to: string, bytes: Buffer): Promise<void> {
    await this.beforeTaking(to);
    const source = bytes.toString();
    // Unfold what quoted-printable has broken.
    const plain = source.replaceAll(/=\r?\n/g, '').replaceAll('=3D', '=');
    this.received.push({
      to,
      source,
      subject: /^Subject: (.*)$/m.exec(source)?.[1]?.trim() ?? '',
      text: plain,
      token: /slk_[A-Za-z0-9_-]{43}/.exec(plain)?.[0] ?? '',
    });
  }
}
