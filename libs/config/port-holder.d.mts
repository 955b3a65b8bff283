export declare function isPortFree(port: number, host: string): Promise<boolean>;
export declare function holderOf(port: number): { holder: string; passing: boolean };
