use darknet_ebpf::Class;

use crate::kernel::BankFigures;

/// What does not add up in what the kernel has counted in a window.
pub(super) fn mismatches(figures: &BankFigures) -> Vec<String> {
    let BankFigures {
        ledger,
        totals,
        ports,
        icmp,
        networks,
        row_overflow,
        ..
    } = figures;
    let of = |class| totals.class(class).packets;
    let ports: u64 = ports.iter().map(|(_, _, counts)| counts.packets).sum();
    let messages: u64 = icmp.iter().map(|(_, counts)| counts.packets).sum();
    let equations = [
        (
            "classes = counted",
            Class::ALL.map(of).iter().sum(),
            ledger.counted,
        ),
        (
            "rows of ports and ICMP = their classes",
            ports + messages + row_overflow.packets,
            of(Class::TcpSyn)
                + 2 * of(Class::TcpBackscatter)
                + of(Class::TcpOther)
                + of(Class::Udp)
                + of(Class::Icmp)
                + of(Class::IcmpBackscatter),
        ),
        (
            "networks + overflow = counted without malformed",
            networks.total().packets,
            ledger.counted - of(Class::Malformed).min(ledger.counted),
        ),
    ];
    let unequal = equations.iter().filter(|(_, left, right)| left != right);
    let unequal =
        unequal.map(|(equation, left, right)| format!("{equation}: {left} against {right}"));
    let mismatch = ledger.check().err().map(|mismatch| mismatch.to_string());
    mismatch.into_iter().chain(unequal).collect()
}
