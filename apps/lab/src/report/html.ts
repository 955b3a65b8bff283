/** Text that was made safe for HTML, or made of it. */
export interface Html {
  readonly html: string;
}

type Part = string | number | Html | readonly Html[];

const escapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** A template of HTML: every value that is not {@link Html} itself is escaped, since much of a report is the server's words. */
export function html(strings: TemplateStringsArray, ...values: readonly Part[]): Html {
  return { html: strings.reduce((text, string, index) => text + render(values[index - 1]!) + string) };
}

function render(part: Part): string {
  if (Array.isArray(part)) return part.map(({ html }: Html) => html).join('');
  if (typeof part === 'object') return (part as Html).html;
  return String(part).replace(/[&<>"']/g, (character) => escapes[character]!);
}

/** @param rows of cells; the first cell of a row is its heading */
export function table(caption: string, headings: readonly string[], rows: readonly (readonly Part[])[]): Html {
  const head = headings.map((heading) => html`<th scope="col">${heading}</th>`);
  const body = rows.map(
    ([first, ...rest]) =>
      html`<tr>
        <th scope="row">${first!}</th>
        ${rest.map(cellOf)}
      </tr> `,
  );
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${caption}">
    <table>
      <caption>
        ${caption}
      </caption>
      <thead>
        <tr>
          ${head}
        </tr>
      </thead>
      <tbody>
        ${body}
      </tbody>
    </table>
  </div> `;
}

/** Numbers stand right, so that their digits stand below one another; words stand left. */
function cellOf(cell: Part): Html {
  const word = typeof cell === 'object' || !/^-?\d[\d.,]*( ?(ms|%|MB|s|µs|\/s))?$/.test(String(cell));
  return word ? html`<td class="word">${cell}</td>` : html`<td>${cell}</td>`;
}
