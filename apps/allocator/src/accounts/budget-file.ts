import { readYamlFile } from '@sluice/config';
import { z } from 'zod';
import { AMOUNT_MAX, LEVELS_MAX, modes, type Mode, type Period, periods, type Unit, units } from './units.js';

/** A limit as a file says it, in the words of the contract. */
export interface FileLimit {
  readonly unit: Unit;
  /** Decimal text. */
  readonly amount: string;
  readonly period: Period;
  readonly zone: string;
  readonly soft_percent: number;
  readonly mode: Mode;
}

/** An account as a file says it; the root's path is empty. */
export interface FileAccount {
  readonly tenant: string;
  readonly path: string;
  readonly limits: readonly FileLimit[];
}

const MICROS = 1_000_000;

/** Dollars are for people: they become micro-USD here, exactly or not at all. */
const limitSchema = z
  .strictObject({
    unit: z.enum([...units, 'usd']),
    amount: z.number().nonnegative(),
    period: z.enum(periods),
    zone: z.string().min(1).default('UTC'),
    soft_percent: z.int().min(0).max(100).default(80),
    mode: z.enum(modes).default('hard'),
  })
  .transform(({ unit, amount, ...rest }, context): FileLimit => {
    const exact = unit === 'usd' ? Math.round(amount * MICROS) : amount;
    const fits = Number.isSafeInteger(exact) && BigInt(exact) <= AMOUNT_MAX;
    if (!fits || (unit === 'usd' && Math.abs(exact - amount * MICROS) > 1e-6 * Math.max(1, exact))) {
      const expected = unit === 'usd' ? 'dollars with at most six decimals' : 'a whole number';
      context.addIssue({
        code: 'custom',
        path: ['amount'],
        message: `expected ${expected}, up to ${AMOUNT_MAX} in all`,
      });
      return z.NEVER;
    }
    return { unit: unit === 'usd' ? 'micro_usd' : unit, amount: String(exact), ...rest };
  });

interface FileNode {
  readonly limits: readonly FileLimit[];
  readonly accounts: Readonly<Record<string, FileNode>>;
}

const NAME = /^(?!acc_)(?!-$)(?!\s)[^/\p{Control}]{1,100}(?<!\s)$/u;

/** What a node of this level may have below it. */
function nodeSchema(level: number): z.ZodType<FileNode> {
  const limits = z.array(limitSchema).default([]);
  if (level >= LEVELS_MAX) {
    return z
      .strictObject({ limits })
      .transform((node) => ({ ...node, accounts: {} })) as unknown as z.ZodType<FileNode>;
  }
  const accounts = z.record(z.string().regex(NAME), nodeSchema(level + 1)).default({});
  return z.strictObject({ limits, accounts }) as unknown as z.ZodType<FileNode>;
}

const fileSchema = z.strictObject({ tenants: z.record(z.string().min(1), nodeSchema(0)) });

/**
 * The accounts and limits of a file, each tenant's from the root down.
 *
 * @throws ConfigurationError with every fault, its line, and what was expected
 */
export function readBudgetFile(name: string): FileAccount[] {
  const { tenants } = readYamlFile(name, fileSchema);
  const accounts: FileAccount[] = [];
  const add = (tenant: string, path: string, node: FileNode) => {
    accounts.push({ tenant, path, limits: node.limits });
    for (const [child, below] of Object.entries(node.accounts))
      add(tenant, path === '' ? child : `${path}/${child}`, below);
  };
  for (const [tenant, node] of Object.entries(tenants)) add(tenant, '', node);
  return accounts;
}
