/** The value of an option on a command line. */
export function wholeNumber(option: string, text: string): number {
  if (!/^\d+$/.test(text)) throw new Error(`--${option} ${text}: must be a whole number`);
  return Number(text);
}
