using ILGPU.Runtime.Cuda;

namespace TransferEngine.Kernels;

/// <summary>
/// The inline assembly of products, a method for each thing done. Registers are named, in the kernel's own scope: c, 64 sums of a thread; a and b, the fragments; o, the
/// places in a stage that a thread reads from; x, the same in the stage at hand; base, where shared memory begins. Places are bytes from there.
/// </summary>
internal static class Ptx
{
    private const string MoveToStage = "repeat i 8 { add.u32 x$(i), o$(i), %0; }\n";

    private const string Fragments = "{c$(16*i+4*j), c$(16*i+4*j+1), c$(16*i+4*j+2), c$(16*i+4*j+3)}, {a$(4*i), a$(4*i+1), a$(4*i+2), a$(4*i+3)}, {b$(2*j), b$(2*j+1)}, {c$(16*i+4*j), c$(16*i+4*j+1), c$(16*i+4*j+2), c$(16*i+4*j+3)};";

    // Four 8 x 8 blocks at once, transposed on the way: lane / 4 is the line, the two halves of a register are neighbours along K.
    private const string LoadNarrow = MoveToStage
        + "repeat i 4 { ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {a$(4*i), a$(4*i+1), a$(4*i+2), a$(4*i+3)}, [x$(i)];\n }"
        + "repeat j 2 { ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {b$(4*j), b$(4*j+1), b$(4*j+2), b$(4*j+3)}, [x$(4+j)];\n }";

    /// <summary>Declares the registers, clears the sums and notes where shared memory begins.</summary>
    public static void Begin() => CudaAsm.Emit(".reg .b32 c<64>, a<16>, b<8>, o<9>, x<8>, base;\n mov.u32 base, $shared;\n repeat i 64 { mov.b32 c$(i), 0;\n }");

    /// <summary>Sets the places of A that a thread reads from.</summary>
    public static void PlaceA(int p0, int p1, int p2, int p3) => CudaAsm.Emit("add.u32 o0, base, %0;\n add.u32 o1, base, %1;\n add.u32 o2, base, %2;\n add.u32 o3, base, %3;", p0, p1, p2, p3);

    /// <summary>Sets the places of B.</summary>
    public static void PlaceB(int p0, int p1, int p2, int p3) => CudaAsm.Emit("add.u32 o4, base, %0;\n add.u32 o5, base, %1;\n add.u32 o6, base, %2;\n add.u32 o7, base, %3;", p0, p1, p2, p3);

    /// <summary>Sets the place in the slab that a thread's sums go to.</summary>
    public static void PlaceSums(int place) => CudaAsm.Emit("add.u32 o8, base, %0;", place);

    /// <summary>Copies up to 4 bytes past the registers; what is missing of them becomes 0.</summary>
    public static void Copy4(int place, long source, int bytes) => CudaAsm.Emit(
        "{ .reg .b32 at;\n .reg .b64 from;\n add.u32 at, base, %0;\n cvta.to.global.u64 from, %1;\n cp.async.ca.shared.global [at], [from], 4, %2;\n }", place, source, bytes);

    /// <summary>Copies up to 16 bytes, likewise.</summary>
    public static void Copy16(int place, long source, int bytes) => CudaAsm.Emit(
        "{ .reg .b32 at;\n .reg .b64 from;\n add.u32 at, base, %0;\n cvta.to.global.u64 from, %1;\n cp.async.cg.shared.global [at], [from], 16, %2;\n }", place, source, bytes);

    /// <summary>Closes a group of copies.</summary>
    public static void CommitCopies() => CudaAsm.Emit("cp.async.commit_group;");

    /// <summary>Waits for all groups of this thread's copies but the latest.</summary>
    public static void WaitForCopiesButTheLatest() => CudaAsm.Emit("cp.async.wait_group 1;");

    /// <summary>Waits for all of this thread's copies.</summary>
    public static void WaitForCopies() => CudaAsm.Emit("cp.async.wait_all;");

    /// <summary>Stores a number as bfloat16.</summary>
    public static void StoreBFloat16(int place, float value) => CudaAsm.Emit(
        "{ .reg .b32 at;\n .reg .b16 half;\n add.u32 at, base, %0;\n cvt.rn.bf16.f32 half, %1;\n st.shared.b16 [at], half;\n }", place, value);

    /// <summary>Stores a number as float16.</summary>
    public static void StoreFloat16(int place, float value) => CudaAsm.Emit(
        "{ .reg .b32 at;\n .reg .b16 half;\n add.u32 at, base, %0;\n cvt.rn.f16.f32 half, %1;\n st.shared.b16 [at], half;\n }", place, value);

    /// <summary>16 deep, 8 x 8 sums of a thread: lines 0 to 3 and 64 to 67 from its place on. x 0 to 3 are the places for each swizzle.</summary>
    public static void MultiplyScalars(int stage) => CudaAsm.Emit(
        MoveToStage + """
        repeat k 16 {
        ld.shared.v4.f32 {a0, a1, a2, a3}, [x$(((k>>1)^(k<<1))&3)+$(512*k)];
        ld.shared.v4.f32 {a4, a5, a6, a7}, [x$(((k>>1)^(k<<1))&3)+$(512*k+256)];
        ld.shared.v4.f32 {b0, b1, b2, b3}, [x$(4+(((k>>1)^(k<<1))&3))+$(512*k+8192)];
        ld.shared.v4.f32 {b4, b5, b6, b7}, [x$(4+(((k>>1)^(k<<1))&3))+$(512*k+8448)];
        repeat i 8 { repeat j 8 { fma.rn.f32 c$(8*i+j), a$(i), b$(j), c$(8*i+j);
        } }
        }
        """, stage);

    /// <summary>16 deep in two steps of 8, in TensorFloat32: a register of A for each half of 16 rows and of 8 depths, of B for each half of 8 depths.</summary>
    public static void MultiplyTensorFloat32(int stage) => CudaAsm.Emit(
        MoveToStage + """
        repeat k 2 {
        repeat i 4 { repeat h 4 { ld.shared.b32 a$(4*i+h), [x$((2*(i&1)+(h&1))^(h&2))+$(128*(i>>1)+2048*(h>>1)+4096*k)];
        cvt.rna.tf32.f32 a$(4*i+h), a$(4*i+h);
        } }
        repeat j 4 { repeat h 2 { ld.shared.b32 b$(2*j+h), [x$(4+(j^(2*h)))+$(8192+2048*h+4096*k)];
        cvt.rna.tf32.f32 b$(2*j+h), b$(2*j+h);
        } }
        repeat i 4 { repeat j 4 { mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 
        """ + Fragments + """

        } }
        }
        """, stage);

    /// <summary>16 deep, in bfloat16 with float32 sums.</summary>
    public static void MultiplyBFloat16(int stage) => CudaAsm.Emit(LoadNarrow + "repeat i 4 { repeat j 4 { mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 " + Fragments + "\n } }", stage);

    /// <summary>16 deep, in float16 with float32 sums.</summary>
    public static void MultiplyFloat16(int stage) => CudaAsm.Emit(LoadNarrow + "repeat i 4 { repeat j 4 { mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 " + Fragments + "\n } }", stage);

    // The sums of one pass, to the slab. A literal each, as ILGPU wants it: only the number of the first sum differs.
    private const string ToSlab = "add.u32 x0, o8, 0;\n repeat j 4 { st.shared.v2.f32 [x0+$(32*j)], {c$(4*j+";

    private const string PairEnd = ")};\n st.shared.v2.f32 [x0+$(32*j+4352)], {c$(4*j+";

    /// <summary>A warp's fragments of 16 rows: rows lane / 4 and, 8 rows and 4352 bytes further, lane / 4 + 8; two sums lie together.</summary>
    public static void StoreFragments0() => CudaAsm.Emit(ToSlab + "0), c$(4*j+1" + PairEnd + "2), c$(4*j+3)};\n }");

    public static void StoreFragments1() => CudaAsm.Emit(ToSlab + "16), c$(4*j+17" + PairEnd + "18), c$(4*j+19)};\n }");

    public static void StoreFragments2() => CudaAsm.Emit(ToSlab + "32), c$(4*j+33" + PairEnd + "34), c$(4*j+35)};\n }");

    public static void StoreFragments3() => CudaAsm.Emit(ToSlab + "48), c$(4*j+49" + PairEnd + "50), c$(4*j+51)};\n }");

    /// <summary>Two of a thread's eight rows: a row of the slab, 544 bytes, for each, columns 0 to 3 and 64 to 67 from its place on.</summary>
    public static void StoreScalars0() => CudaAsm.Emit(RowsToSlab + "8*i+4*h), c$(8*i+4*h+1), c$(8*i+4*h+2), c$(8*i+4*h+3)};\n } }");

    public static void StoreScalars1() => CudaAsm.Emit(RowsToSlab + "8*i+4*h+16), c$(8*i+4*h+17), c$(8*i+4*h+18), c$(8*i+4*h+19)};\n } }");

    public static void StoreScalars2() => CudaAsm.Emit(RowsToSlab + "8*i+4*h+32), c$(8*i+4*h+33), c$(8*i+4*h+34), c$(8*i+4*h+35)};\n } }");

    public static void StoreScalars3() => CudaAsm.Emit(RowsToSlab + "8*i+4*h+48), c$(8*i+4*h+49), c$(8*i+4*h+50), c$(8*i+4*h+51)};\n } }");

    private const string RowsToSlab = "add.u32 x0, o8, 0;\n repeat i 2 { repeat h 2 { st.shared.v4.f32 [x0+$(544*i+256*h)], {c$(";
}
