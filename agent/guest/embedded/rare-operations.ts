import { OPERATION } from './decode.js';

/** What an atomic read-modify-write stores, from the word in memory and the register's, both signed. */
export function combineAtomically(operation: number, old: number, source: number): number {
  switch (operation) {
    case OPERATION['amoswap.w']:
      return source;
    case OPERATION['amoadd.w']:
      return (old + source) | 0;
    case OPERATION['amoxor.w']:
      return old ^ source;
    case OPERATION['amoand.w']:
      return old & source;
    case OPERATION['amoor.w']:
      return old | source;
    case OPERATION['amomin.w']:
      return old < source ? old : source;
    case OPERATION['amomax.w']:
      return old > source ? old : source;
    case OPERATION['amominu.w']:
      return old >>> 0 < source >>> 0 ? old : source;
    default: // amomaxu.w
      return old >>> 0 > source >>> 0 ? old : source;
  }
}

/** Whether the branch with this funct3 is taken for these operands. */
export function branchTaken(funct3: number, a: number, b: number): boolean {
  const opposite = (funct3 & 1) !== 0;
  const holds = funct3 < 4 ? a === b : funct3 < 6 ? a < b : a >>> 0 < b >>> 0;
  return holds !== opposite;
}
