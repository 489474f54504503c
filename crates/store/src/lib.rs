//! What survives a crash: job journal, log spool, ledger
