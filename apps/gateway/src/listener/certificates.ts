import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import { ConfigurationError } from '@sluice/config';

/** The PEM files of the TLS port. */
export interface TlsFiles {
  /** The first one is for clients that name no host, or none of those that the certificates are for. `setting` is what names the files. */
  readonly certificates: readonly { readonly setting: string; readonly cert: string; readonly key: string }[];
  /** Whom clients' certificates must come from; undefined: clients are not asked for one. */
  readonly clientCa: string | undefined;
}

interface Certificate {
  readonly x509: X509Certificate;
  readonly options: SecureContextOptions;
  readonly context: SecureContext;
}

/** What the files contained when they were read. */
export class Certificates {
  private constructor(private readonly all: readonly [Certificate, ...Certificate[]]) {}

  /** @throws ConfigurationError that names every file that cannot be used */
  static read(files: TlsFiles): Certificates {
    const faults: string[] = [];
    const attempt = <T>(expected: string, work: () => T): T | undefined => {
      try {
        return work();
      } catch (error) {
        faults.push(`${expected} (${(error as Error).message})`);
        return undefined;
      }
    };
    const { clientCa } = files;
    const ca =
      clientCa === undefined
        ? undefined
        : attempt(`tls.client_ca: ${clientCa}: expected PEM certificates`, () => certificateAuthority(clientCa));
    const all = files.certificates.flatMap(({ setting, cert, key }) => {
      const expected = `${setting}: ${cert}, ${key}: expected PEM files of a certificate and its key`;
      const read = attempt(expected, () => certificate(readFileSync(cert), readFileSync(key), ca));
      return read ? [read] : [];
    });
    const [first, ...others] = all;
    if (faults.length > 0 || first === undefined) throw new ConfigurationError(faults);
    return new Certificates([first, ...others]);
  }

  /** For clients that name no host. */
  get first(): SecureContextOptions {
    return this.all[0].options;
  }

  /** One that is for the host itself goes before one for all hosts of its domain. */
  contextFor(host: string): SecureContext {
    const exact = this.all.find(({ x509 }) => x509.checkHost(host, { wildcards: false }) !== undefined);
    return (exact ?? this.all.find(({ x509 }) => x509.checkHost(host) !== undefined) ?? this.all[0]).context;
  }

  /** The certificate that expires next. */
  get expiresAt(): Date {
    return new Date(Math.min(...this.all.map(({ x509 }) => x509.validToDate.getTime())));
  }
}

function certificate(cert: Buffer, key: Buffer, ca: Buffer | undefined): Certificate {
  const x509 = new X509Certificate(cert);
  const options: SecureContextOptions = { cert, key, minVersion: 'TLSv1.2', ...(ca && { ca }) };
  return { x509, options, context: createSecureContext(options) };
}

function certificateAuthority(file: string): Buffer {
  const ca = readFileSync(file);
  // What is no certificate would be passed over in silence, and nobody could come in.
  void new X509Certificate(ca);
  return ca;
}

/**
 * The subject of a certificate as RFC 4514 writes it, most specific first: `CN=ann,O=Example`. What is not ASCII is escaped octet by octet
 * (section 2.4), so that it can travel as metadata.
 */
export function subjectOf(der: Buffer): string {
  // Each part stands on a line of its own, escaped as the RFC has it.
  const parts = new X509Certificate(der).subject.split('\n').toReversed();
  return parts
    .join(',')
    .replace(/[^\x20-\x7e]+/g, (text) =>
      [...Buffer.from(text)].map((octet) => `\\${octet.toString(16).padStart(2, '0').toUpperCase()}`).join(''),
    );
}
