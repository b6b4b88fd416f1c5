using ILGPU.Backends.EntryPoints;
using ILGPU.Backends.PTX;
using ILGPU.Runtime.Cuda;
using TransferEngine.Tests;

namespace TransferEngine.Kernels.Tests;

public class MatMulTests
{
    /// <summary>Batch, M, N, K: empty axes, 1, odd, the widths of vectors and panels, several blocks of rows, columns and K, matrix and vector, skinny.</summary>
    private static readonly MatMulShape[] Shapes =
    [
        new(1, 0, 3, 2), new(0, 2, 3, 2), new(2, 3, 4, 0), new(1, 1, 1, 1), new(1, 3, 5, 7), new(1, 12, 32, 16), new(1, 13, 33, 17),
        new(3, 5, 4, 6), new(40, 7, 9, 5), new(2, 64, 64, 64), new(1, 1, 37, 19), new(1, 1, 301, 70), new(1, 37, 1, 19), new(1, 300, 1, 71),
        new(2, 1, 33, 40), new(1, 40, 34, 5), new(2, 35, 33, 3), new(2, 3, 50, 40), new(1, 4, 17, 300), new(1, 100, 100, 600), new(1, 200, 33, 300), new(1, 500, 260, 90),
        new(2, 130, 140, 270), new(2, 70, 65, 37), new(1, 70, 34, 600), new(1, 600, 700, 40), new(1, 61, 2000, 400), new(1, 2, 5, 20000),
    ];

    private static readonly string[] Layouts = ["plain", "transposed a", "transposed b", "transposed both", "strided", "shared a", "shared b"];

    public static TheoryData<string, int> Cases
    {
        get
        {
            var cases = new TheoryData<string, int>();
            foreach (string device in TestDevices.Names)
                for (int shape = 0; shape < Shapes.Length; shape++)
                    if (device != "emulator" || Shapes[shape] is { Batch: <= 3, M: <= 64, N: <= 64, K: <= 64 })
                        cases.Add(device, shape);
            return cases;
        }
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Equals_the_double_reference(string name, int index)
    {
        var device = TestDevices.Get(name);
        foreach (string layout in Layouts)
        {
            Check<float>(device, Shapes[index], layout, 2e-6);
            Check<double>(device, Shapes[index], layout, 1e-14);
        }
    }

    [SkippableTheory, InlineData("emulator"), InlineData("opencl"), InlineData("cuda")]
    public void Tiles_in_shared_memory_equal_the_double_reference(string name)
    {
        var device = TestDevices.Get(name);
        foreach (var shape in new MatMulShape[] { new(1, 1, 1, 1), new(2, 3, 5, 0), new(2, 17, 19, 9), new(1, 33, 16, 20), new(3, 70, 130, 65) })
        {
            if (device.IsEmulated && shape.K > 32)
                continue;
            foreach (string layout in new[] { "plain", "transposed", "strided" })
            {
                var a = new Operand<float>(device, shape.Batch, shape.M, shape.K, layout, 1);
                var b = new Operand<float>(device, shape.Batch, shape.K, shape.N, layout, 2);
                var c = New(device, new float[shape.Batch * shape.M * shape.N]);
                var output = new RowMajor<float, Identity<float>>(c.View<float>(), shape.M, shape.N, default);
                if (device.IsEmulated)
                    PortableMatMul.Tiled<float, Side4, RowMajor<float, Identity<float>>>(device, shape, a.Matrix, b.Matrix, output);
                else
                    PortableMatMul.Tiled<float, Side16, RowMajor<float, Identity<float>>>(device, shape, a.Matrix, b.Matrix, output);
                Close(Reference(shape, a, b), Read<float>(device, c), 2e-6 * (shape.K + 1));
            }
        }
    }

    [Fact]
    public void Tiles_compile_to_PTX_with_their_sums_in_registers()
    {
        using var context = ComputeDevice.CompilerContext();
        using var backend = new PTXBackend(context, CudaArchitecture.SM_80, CudaInstructionSet.ISA_80, null!);
        foreach (var kernel in new[] { typeof(TiledProduct<float, Side16, MatrixLines<float>, MatrixLines<float>, RowMajor<float, ColumnBias<float, Relu>>>), typeof(TiledProduct<double, Side16, MatrixLines<double>, MatrixLines<double>, RowMajor<double, Identity<double>>>) })
        {
            var compiled = Assert.IsType<PTXCompiledKernel>(backend.Compile(EntryPointDescription.FromExplicitlyGroupedKernel(KernelEntry.Method(kernel)), default));
            Assert.Contains("bar.sync", compiled.PTXAssembly, StringComparison.Ordinal);
            Assert.DoesNotContain(".local", compiled.PTXAssembly, StringComparison.Ordinal);
        }
    }

    [SkippableTheory, MemberData(nameof(TestDevices.All), MemberType = typeof(TestDevices))]
    public void Epilogues_run_on_the_sums(string name)
    {
        var device = TestDevices.Get(name);
        foreach (var shape in new MatMulShape[] { new(2, 5, 19, 7), new(1, 1, 37, 8), new(1, 21, 1, 8), new(1, 13, 33, 0), new(1, 20, 35, 300) })
        {
            if (device.IsEmulated && shape.K > 64)
                continue;
            var a = new Operand<float>(device, shape.Batch, shape.M, shape.K, "plain", 1);
            var b = new Operand<float>(device, shape.Batch, shape.K, shape.N, "plain", 2);
            var columnBias = new Operand<float>(device, 1, 1, shape.N, "plain", 3);
            var c = New(device, new float[shape.Batch * shape.M * shape.N]);
            var plain = Reference(shape, a, b);

            MatMul.Run<float, ColumnBias<float, Relu>>(device, shape, a.Matrix, b.Matrix, c, new(columnBias.Matrix.Data.View<float>(), default));
            Close(plain.Select((v, i) => Math.Max(v + columnBias.At(0, 0, i % shape.N), 0)), Read<float>(device, c), 1e-6 * (shape.K + 1));
            MatMul.Run<float, ColumnBias<float, Same>>(device, shape, a.Matrix, b.Matrix, c, new(columnBias.Matrix.Data.View<float>(), default));
            Close(plain.Select((v, i) => v + columnBias.At(0, 0, i % shape.N)), Read<float>(device, c), 1e-6 * (shape.K + 1));
            MatMul.Accumulate<float, Identity<float>>(device, shape, a.Matrix, b.Matrix, c, default);
            Close(plain.Select((v, i) => v + v + columnBias.At(0, 0, i % shape.N)), Read<float>(device, c), 2e-6 * (shape.K + 1));
        }
    }

    [Fact]
    public void A_matrix_times_its_transpose_is_symmetric_and_the_product()
    {
        using var device = ComputeDevice.Open(DeviceKind.Cpu, 0);
        foreach (int rows in new[] { 192, 209, 400 })
        {
            foreach (int depth in new[] { 64, 700 })
            {
                foreach (string layout in new[] { "plain", "transposed", "strided" })
                {
                    Compare<float>(rows, depth, layout, 2e-6 * depth);
                    Compare<double>(rows, depth, layout, 1e-14 * depth);
                }
            }
        }

        void Compare<T>(int rows, int depth, string layout, double tolerance) where T : unmanaged, System.Numerics.IFloatingPoint<T>
        {
            var shape = new MatMulShape(1, rows, rows, depth);
            var a = new Operand<T>(device, 1, rows, depth, layout, 1);
            var c = New(device, new T[rows * rows]);
            Assert.True(GramProduct.Serves(shape, a.Matrix, a.Matrix.Transposed));
            MatMul.Run(device, shape, a.Matrix, a.Matrix.Transposed, c);
            var got = Read<T>(device, c);
            Close([.. Enumerable.Range(0, rows * rows).Select(i => Enumerable.Range(0, depth).Sum(k => a.At(0, i / rows, k) * a.At(0, i % rows, k)))], got, tolerance);
            Assert.Equal(got, Enumerable.Range(0, rows * rows).Select(i => got[i % rows * rows + i / rows]));
        }
    }

    [Fact]
    public void One_and_two_workers_give_the_same_bits_and_allocate_nothing()
    {
        using var device = ComputeDevice.Open(DeviceKind.Cpu, 0);
        foreach (var shape in new MatMulShape[] { new(1, 200, 300, 520), new(1, 1, 2000, 300), new(1, 3000, 1, 300), new(30, 20, 30, 40), new(1, 3, 700, 600) })
        {
            var a = new Operand<float>(device, shape.Batch, shape.M, shape.K, "plain", 1);
            foreach (string layout in new[] { "plain", "transposed" })
            {
                var b = new Operand<float>(device, shape.Batch, shape.K, shape.N, layout, 2);
                var c = New(device, new float[shape.Batch * shape.M * shape.N]);
                device.Team.MaxDegreeOfParallelism = 1;
                MatMul.Run(device, shape, a.Matrix, b.Matrix, c);
                var one = Read<float>(device, c);
                device.Team.MaxDegreeOfParallelism = 2;
                MatMul.Run(device, shape, a.Matrix, b.Matrix, c);
                Assert.Equal(one, Read<float>(device, c));
                device.Team.MaxDegreeOfParallelism = 1;
                MatMul.Run(device, shape, a.Matrix, b.Matrix, c);
                long before = GC.GetAllocatedBytesForCurrentThread();
                MatMul.Run(device, shape, a.Matrix, b.Matrix, c);
                Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
            }
        }
    }

    private static void Check<T>(ComputeDevice device, MatMulShape shape, string layout, double tolerance) where T : unmanaged, System.Numerics.IFloatingPoint<T>
    {
        var a = new Operand<T>(device, shape.Batch, shape.M, shape.K, layout is "transposed a" or "transposed both" ? "transposed" : layout == "shared a" ? "shared" : layout, 1);
        var b = new Operand<T>(device, shape.Batch, shape.K, shape.N, layout is "transposed b" or "transposed both" ? "transposed" : layout == "shared b" ? "shared" : layout, 2);
        var c = New(device, new T[shape.Batch * shape.M * shape.N]);
        MatMul.Run(device, shape, a.Matrix, b.Matrix, c);
        Close(Reference(shape, a, b), Read<T>(device, c).Select(double.CreateChecked), tolerance * (Math.Sqrt(shape.K) + 1));
    }

    private static double[] Reference<T>(MatMulShape shape, Operand<T> a, Operand<T> b) where T : unmanaged, System.Numerics.IFloatingPoint<T>
    {
        var c = new double[shape.Batch * shape.M * shape.N];
        var line = new double[shape.N];
        for (int batch = 0; batch < shape.Batch; batch++)
        {
            for (int k = 0; k < shape.K; k++)
            {
                for (int column = 0; column < shape.N; column++)
                    line[column] = b.At(batch, k, column);
                for (int row = 0; row < shape.M; row++)
                {
                    double factor = a.At(batch, row, k);
                    var sums = c.AsSpan((batch * shape.M + row) * shape.N, shape.N);
                    for (int column = 0; column < sums.Length; column++)
                        sums[column] += factor * line[column];
                }
            }
        }
        return c;
    }

    private static Slice New<T>(ComputeDevice device, T[] values) where T : unmanaged
    {
        var type = ElementTypes.Of<T>();
        var slice = new Slice(device.Memory.Rent((long)type.Size() * values.Length, null), 0, values.Length, type);
        device.CopyIn<T>(values, slice);
        return slice;
    }

    private static T[] Read<T>(ComputeDevice device, Slice slice) where T : unmanaged
    {
        var values = new T[slice.Length];
        device.CopyOut<T>(slice, values);
        return values;
    }

    private static void Close<T>(IEnumerable<double> expected, IEnumerable<T> actual, double tolerance) where T : System.Numerics.INumber<T>
    {
        foreach (var (e, a, i) in expected.Zip(actual, Enumerable.Range(0, int.MaxValue)))
            Assert.True(Math.Abs(e - double.CreateChecked(a)) <= tolerance, $"Element {i}: expected {e}, got {a}.");
    }

    /// <summary>Random matrices in a slice with an offset, laid out in one of several ways.</summary>
    private sealed class Operand<T> where T : unmanaged, System.Numerics.IFloatingPoint<T>
    {
        private readonly T[] values;

        public Operand(ComputeDevice device, int batch, int rows, int columns, string layout, int seed)
        {
            var random = new Random(seed);
            int factor = layout == "strided" ? 6 : 1;
            values = [.. Enumerable.Range(0, 3 + batch * rows * columns * factor).Select(_ => T.CreateChecked(random.NextDouble() - 0.5))];
            var slice = New(device, values);
            slice = slice with { Offset = 3, Length = slice.Length - 3 };
            Matrix = layout switch
            {
                "transposed" => Matrix.RowMajor(slice, columns, rows).Transposed,
                "strided" => new Matrix(slice, columns * 3, 2, rows * columns * 4),
                "shared" => Matrix.RowMajor(slice, rows, columns) with { BatchStride = 0 },
                _ => Matrix.RowMajor(slice, rows, columns),
            };
        }

        public Matrix Matrix { get; }

        public double At(int batch, int row, int column) =>
            double.CreateChecked(values[3 + batch * Matrix.BatchStride + row * Matrix.RowStride + column * Matrix.ColumnStride]);
    }
}
