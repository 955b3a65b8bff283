/** The time as header fields write it (RFC 9110 section 5.6.7), made once a second. One text until it changes. */
export function httpDate(): string {
  if (date === undefined) {
    const now = Date.now();
    date = new Date(now).toUTCString();
    setTimeout(forget, SECOND_MS - (now % SECOND_MS)).unref();
  }
  return date;
}

const SECOND_MS = 1000;
let date: string | undefined;

function forget(): void {
  date = undefined;
}
