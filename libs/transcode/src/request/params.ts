import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { TranscodeError, shorten } from '../errors.js';
import type { MessageReaders } from '../read/message-reader.js';
import type { Overlay, TextField } from '../read/overlay.js';
import { UnboundPath, resolveFields, textField } from './text-field.js';

/** Names that are kept compiled: more than this only occurs with recursive messages. */
const keptMax = 1000;
/** How many fields a name may lead through. */
const pathMax = 32;

export interface ParamsOptions {
  /** The field that the body sets, or `*` for all: no parameter reaches it. */
  readonly bodyField?: DescField | '*' | undefined;
  /** The field of the request message whose fields the parameters set; the request message itself when absent. */
  readonly within?: DescField | undefined;
  readonly ignoreUnknown: boolean;
}

/** The parameters that set fields of a message, by name: `a.b`, in JSON or proto names. */
export class Params {
  private readonly kept = new Map<string, TextField>();

  constructor(
    private readonly message: DescMessage,
    private readonly readers: MessageReaders,
    private readonly options: ParamsOptions,
  ) {}

  /**
   * Adds the parameters of a query or form (`application/x-www-form-urlencoded` of the URL standard).
   * @throws TranscodeError that names the parameter
   */
  addTo(overlay: Overlay, query: string): void {
    for (let start = 0; start < query.length;) {
      let end = query.indexOf('&', start);
      if (end < 0) end = query.length;
      if (end > start) this.addOne(overlay, query, start, end);
      start = end + 1;
    }
  }

  private addOne(overlay: Overlay, query: string, start: number, end: number): void {
    const equals = query.indexOf('=', start);
    const nameEnd = equals < 0 || equals > end ? end : equals;
    const name = decode(query.slice(start, nameEnd));
    const field = this.kept.get(name) ?? this.resolve(name);
    if (!field) return;
    const other = overlay.add(field, decode(query.slice(Math.min(nameEnd + 1, end), end)), name);
    if (other) {
      const isSame = other === field.path.at(-1);
      const reason = isSame ? 'is set already, by the path or another parameter' : `excludes "${other.jsonName}"`;
      throw new TranscodeError('DUPLICATE_FIELD', `"${shorten(name)}" ${reason}`, shorten(name));
    }
  }

  private resolve(name: string): TextField | undefined {
    try {
      const names = name.split('.');
      if (names.length > pathMax) throw new UnboundPath('the name has too many parts');
      const { bodyField, within } = this.options;
      if (bodyField === '*') throw new UnboundPath('all fields come in the body');
      const path = resolveFields(this.message, names);
      if (path[0] === bodyField) throw new UnboundPath('the body sets this field');
      const field = textField(within ? [within, ...path] : path, this.readers);
      if (this.kept.size < keptMax) this.kept.set(name, field);
      return field;
    } catch (error) {
      if (!(error instanceof UnboundPath)) throw error;
      if (this.options.ignoreUnknown) return undefined;
      const text = `unknown parameter "${shorten(name)}": ${error.message}`;
      throw new TranscodeError('UNKNOWN_FIELD', text, shorten(name));
    }
  }
}

function decode(text: string): string {
  if (!text.includes('%') && !text.includes('+')) return text;
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    throw new TranscodeError('INVALID_PATH', `not percent-encoded UTF-8: "${shorten(text)}"`);
  }
}
