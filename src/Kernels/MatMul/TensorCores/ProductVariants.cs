namespace TransferEngine.Kernels;

/// <summary>How a group computes the sums of a tile: what a thread reads of a stage, what it multiplies, and where its sums go.</summary>
internal interface IProductVariant
{
    /// <summary>Tells the thread's places.</summary>
    static abstract void Place(int thread);

    /// <summary>Adds the products of a stage, which begins at a place.</summary>
    static abstract void Multiply(int stage);

    /// <summary>Takes a pass's sums to the slab.</summary>
    static abstract void Store(int pass);

    /// <summary>The row of the tile that a row of the slab holds in a pass.</summary>
    static abstract int RowOf(int pass, int slabRow);
}

/// <summary>A variant over numbers of 16 bits.</summary>
internal interface INarrowVariant : IProductVariant
{
    /// <summary>Rounds a number to nearest even and stores it at a place.</summary>
    static abstract void Convert(int place, float value);
}

/// <summary>Every thread has 8 x 8 sums in float32, of two blocks of four rows and two of four columns.</summary>
internal readonly struct ScalarVariant : IProductVariant
{
    public static void Place(int thread)
    {
        int x = 16 * (thread & 15), y = 16 * (thread >> 4); // bytes of four lines
        Ptx.PlaceA(y, y ^ 32, y ^ 64, y ^ 96);
        Ptx.PlaceB(x, x ^ 32, x ^ 64, x ^ 96);
        Ptx.PlaceSums(4 * (2 * (thread >> 4) * ProductTile.SlabStride + 4 * (thread & 15)));
    }

    public static void Multiply(int stage) => Ptx.MultiplyScalars(stage);

    public static void Store(int pass)
    {
        if (pass == 0)
            Ptx.StoreScalars0();
        else if (pass == 1)
            Ptx.StoreScalars1();
        else if (pass == 2)
            Ptx.StoreScalars2();
        else
            Ptx.StoreScalars3();
    }

    // A thread's row 2 * pass + (slabRow & 1) of eight.
    public static int RowOf(int pass, int slabRow) => 64 * (pass >> 1) + 4 * (slabRow >> 1) + 2 * (pass & 1) + (slabRow & 1);
}

/// <summary>Warps of 4 x 4 fragments: what all tensor cores share.</summary>
internal static class Fragments
{
    /// <summary>The first row and column of a thread's warp.</summary>
    public static int Row(int thread) => 64 * (thread >> 7);

    public static int Column(int thread) => 32 * ((thread >> 5) & 3);

    public static void PlaceSums(int thread)
    {
        int lane = thread & 31;
        Ptx.PlaceSums(4 * ((16 * (thread >> 7) + (lane >> 2)) * ProductTile.SlabStride + Column(thread) + 2 * (lane & 3)));
    }

    public static void Store(int pass)
    {
        if (pass == 0)
            Ptx.StoreFragments0();
        else if (pass == 1)
            Ptx.StoreFragments1();
        else if (pass == 2)
            Ptx.StoreFragments2();
        else
            Ptx.StoreFragments3();
    }

    public static int RowOf(int pass, int slabRow) => 64 * (slabRow >> 4) + 16 * pass + (slabRow & 15);

    /// <summary>The places that a lane gives to ldmatrix: a row of eight lines for each lane; blocks of A along lines first, of B along K first.</summary>
    public static void PlaceNarrow(int thread)
    {
        int lane = thread & 31, block = lane >> 3, row = lane & 7;
        int k = row + 8 * (block >> 1), line = Row(thread) + 8 * (block & 1);
        Ptx.PlaceA(ProductTile.NarrowAt(k, line), ProductTile.NarrowAt(k, line + 16), ProductTile.NarrowAt(k, line + 32), ProductTile.NarrowAt(k, line + 48));
        k = row + 8 * (block & 1);
        int column = Column(thread) + 8 * (block >> 1), second = ProductTile.NarrowStageBytes / 2;
        Ptx.PlaceB(second + ProductTile.NarrowAt(k, column), second + ProductTile.NarrowAt(k, column + 16), 0, 0);
        PlaceSums(thread);
    }
}

/// <summary>Tensor cores over float32 rounded to TensorFloat32 (10 bits of fraction), float32 sums.</summary>
internal readonly struct TensorFloat32Variant : IProductVariant
{
    public static void Place(int thread)
    {
        int lane = thread & 31, k = lane & 3, line = lane >> 2, swizzle = ProductTile.Swizzle(k);
        int first = 32 * swizzle, a = 512 * k + 4 * (Fragments.Row(thread) + line), b = 512 * k + 4 * (Fragments.Column(thread) + line);
        Ptx.PlaceA(a + first, a + (32 ^ first), a + (64 ^ first), a + (96 ^ first));
        Ptx.PlaceB(b + first, b + (32 ^ first), b + (64 ^ first), b + (96 ^ first));
        Fragments.PlaceSums(thread);
    }

    public static void Multiply(int stage) => Ptx.MultiplyTensorFloat32(stage);

    public static void Store(int pass) => Fragments.Store(pass);

    public static int RowOf(int pass, int slabRow) => Fragments.RowOf(pass, slabRow);
}

/// <summary>Tensor cores over float32 rounded to bfloat16 (7 bits of fraction, float32's range), float32 sums.</summary>
internal readonly struct BFloat16Variant : INarrowVariant
{
    public static void Place(int thread) => Fragments.PlaceNarrow(thread);

    public static void Multiply(int stage) => Ptx.MultiplyBFloat16(stage);

    public static void Store(int pass) => Fragments.Store(pass);

    public static int RowOf(int pass, int slabRow) => Fragments.RowOf(pass, slabRow);

    public static void Convert(int place, float value) => Ptx.StoreBFloat16(place, value);
}

/// <summary>Tensor cores over float32 rounded to float16 (10 bits of fraction; infinite past 65504), float32 sums.</summary>
internal readonly struct Float16Variant : INarrowVariant
{
    public static void Place(int thread) => Fragments.PlaceNarrow(thread);

    public static void Multiply(int stage) => Ptx.MultiplyFloat16(stage);

    public static void Store(int pass) => Fragments.Store(pass);

    public static int RowOf(int pass, int slabRow) => Fragments.RowOf(pass, slabRow);

    public static void Convert(int place, float value) => Ptx.StoreFloat16(place, value);
}
