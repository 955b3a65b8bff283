import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { TranscodeError, shorten } from '../errors.js';
import type { MessageReaders } from '../read/message-reader.js';
import type { Overlay, TextField } from '../read/overlay.js';
import { UnboundPath, resolveFields, textField, textMap } from './text-field.js';

/** Names that are kept compiled: more than this only occurs with recursive messages. */
const keptMax = 1000;
/** How many fields a name may lead through. */
const pathMax = 32;

/** What sets the fields: the query of a URL, or a form in the body, whose names and values no error repeats. */
export type ParamsSource = 'query' | 'form';

export interface ParamsOptions {
  readonly source: ParamsSource;
  /** The path of the field that the body sets, or `*` for all: no parameter reaches it. */
  readonly bodyPath?: readonly DescField[] | '*' | undefined;
  /** The path of the field whose fields the parameters set; empty for those of the request message itself. */
  readonly within?: readonly DescField[];
  readonly ignoreUnknown: boolean;
  /** Whether a parameter that sets no field is for somebody else, and left out. */
  readonly isSystem?: ((name: string) => boolean) | undefined;
  /** Of the method; masks may speak of its fields. */
  readonly output?: DescMessage | undefined;
}

/** The parameters that set fields of a message, by name: `a.b`, in JSON or proto names, and `labels[key]` for maps. */
export class Params {
  private readonly kept = new Map<string, TextField>();
  private readonly keptMaps = new Map<string, (key: string) => TextField>();

  constructor(
    private readonly message: DescMessage,
    private readonly readers: MessageReaders,
    private readonly options: ParamsOptions,
  ) {}

  /**
   * Adds the parameters of a query or form (`application/x-www-form-urlencoded` of the URL standard).
   * @param added gets the field that each of them sets
   * @throws TranscodeError that names the parameter
   */
  addTo(overlay: Overlay, query: string, added?: TextField[]): void {
    for (let start = 0, place = 1; start < query.length; place++) {
      let end = query.indexOf('&', start);
      if (end < 0) end = query.length;
      if (end > start) this.addOne(overlay, query, start, end, place, added);
      start = end + 1;
    }
  }

  private addOne(
    overlay: Overlay,
    query: string,
    start: number,
    end: number,
    place: number,
    added: TextField[] | undefined,
  ): void {
    const equals = query.indexOf('=', start);
    const nameEnd = equals < 0 || equals > end ? end : equals;
    const name = this.decode(query.slice(start, nameEnd));
    const value = this.decode(query.slice(Math.min(nameEnd + 1, end), end));
    const field = this.kept.get(name) ?? this.resolve(name, value, place);
    if (!field) return;
    added?.push(field);
    const isForm = this.options.source === 'form';
    const shown = isForm ? this.nameOf(field) : name;
    const other = overlay.add(field, value, shown, isForm);
    if (other) {
      const isSame = field.path.includes(other);
      const reason = isSame ? 'is set already, by the path or another parameter' : `excludes "${other.jsonName}"`;
      throw new TranscodeError('DUPLICATE_FIELD', `"${shorten(shown)}" ${reason}`, shorten(shown));
    }
  }

  /** @param place of the parameter among its like, from 1 */
  private resolve(name: string, value: string, place: number): TextField | undefined {
    try {
      const bracket = name.endsWith(']') ? name.indexOf('[') : -1;
      if (bracket > 0) return this.mapField(name.slice(0, bracket), name.slice(bracket + 1, -1));
      const field = textField(this.pathOf(name), this.readers, this.options.output);
      if (this.kept.size < keptMax) this.kept.set(name, field);
      return field;
    } catch (error) {
      if (!(error instanceof UnboundPath)) throw error;
      const { ignoreUnknown, isSystem, source } = this.options;
      if (ignoreUnknown || isSystem?.(name)) return undefined;
      // A body that is no form is a single name without a value, and may be a password.
      if (source === 'form' && !(/[^=]/.test(value) && /^[A-Za-z_][\w.-]{0,63}$/.test(name))) {
        const fields = shorten(this.message.fields.map((one) => one.jsonName).join(', '), 200);
        const text = `parameter ${place} of the form is no field of ${this.message.typeName}, which has ${fields || 'none'}`;
        throw new TranscodeError('UNKNOWN_FIELD', text);
      }
      const text = `unknown parameter "${shorten(name)}": ${error.message}`;
      throw new TranscodeError('UNKNOWN_FIELD', text, shorten(name));
    }
  }

  private mapField(name: string, key: string): TextField {
    let map = this.keptMaps.get(name);
    if (!map) {
      map = textMap(this.pathOf(name), this.readers);
      if (this.keptMaps.size < keptMax) this.keptMaps.set(name, map);
    }
    return map(key);
  }

  private pathOf(name: string): DescField[] {
    const names = name.split('.');
    if (names.length > pathMax) throw new UnboundPath('the name has too many parts');
    const { bodyPath, within } = this.options;
    if (bodyPath === '*') throw new UnboundPath('all fields come in the body');
    const path = resolveFields(this.message, names, true);
    if (bodyPath && bodyPath.length > 0 && bodyPath.every((field, index) => path[index] === field)) {
      throw new UnboundPath('the body sets this field');
    }
    return within ? [...within, ...path] : path;
  }

  /** The name of a form's field, which is not what the caller wrote. */
  private nameOf({ path }: TextField): string {
    const own = path.slice(this.options.within?.length ?? 0);
    return own.map((one) => one.jsonName).join('.');
  }

  private decode(text: string): string {
    if (!text.includes('%') && !text.includes('+')) return text;
    try {
      return decodeURIComponent(text.replaceAll('+', ' '));
    } catch {
      const what = this.options.source === 'form' ? 'the form is' : `"${shorten(text)}" is`;
      throw new TranscodeError('INVALID_PATH', `${what} not percent-encoded UTF-8`);
    }
  }
}
