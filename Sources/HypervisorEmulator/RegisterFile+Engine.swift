import CUnicorn
import GuestModel

extension RegisterFile {
    init(_ general: cunicorn_general) {
        self.init()
        rax = general.rax
        rbx = general.rbx
        rcx = general.rcx
        rdx = general.rdx
        rsi = general.rsi
        rdi = general.rdi
        rbp = general.rbp
        rsp = general.rsp
        r8 = general.r8
        r9 = general.r9
        r10 = general.r10
        r11 = general.r11
        r12 = general.r12
        r13 = general.r13
        r14 = general.r14
        r15 = general.r15
        rip = general.rip
        rflags = general.rflags
    }

    var emulatorGeneral: cunicorn_general {
        cunicorn_general(
            rax: rax, rbx: rbx, rcx: rcx, rdx: rdx, rsi: rsi, rdi: rdi, rbp: rbp, rsp: rsp, r8: r8,
            r9: r9, r10: r10, r11: r11, r12: r12, r13: r13, r14: r14, r15: r15, rip: rip,
            rflags: rflags)
    }
}
