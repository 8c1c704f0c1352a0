//go:build !purego

package kernel

import "golang.org/x/sys/cpu"

// forms lists what this processor can run, the fastest last.
var forms = amd64Forms()

func amd64Forms() []*form {
	list := []*form{portable}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA && cpu.X86.HasF16C {
		f := *portable
		f.name = "avx2"
		f.gemm = (&tiling{2, 3, tile2x3AVX2, 6, tile1x6AVX2, tile1x1AVX2}).gemm
		list = append(list, &f)
	}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA && cpu.X86.HasAVX512F && cpu.X86.HasAVX512VL {
		f := *portable
		f.name = "avx512"
		f.gemm = (&tiling{4, 6, tile4x6AVX512, 12, tile1x12AVX512, tile1x1AVX512}).gemm
		list = append(list, &f)
	}
	return list
}
